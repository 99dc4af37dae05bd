#include "coordinator/hang.h"

#include <gmock/gmock.h>

namespace trainyard::coordinator {
namespace {

struct R {  // a rank that trains
  explicit R(int32_t rank) { beat.rank = rank, beat.live.phase = "training"; }
  R& Age(double seconds) { return beat.live.beat_age = absl::Seconds(seconds), *this; }
  R& Phase(std::string phase) { return beat.live.phase = phase, *this; }
  R& Step(int64_t step) { return beat.live.step = step, *this; }
  R& Collective(int64_t n) { return beat.live.collective_sequence = n, *this; }
  R& P99(double seconds) { return beat.live.step_seconds_p99 = seconds, *this; }
  R& Silent() { return beat.live.process = "silent", *this; }
  R& Waits() { return beat.live.waiting_for_coordinator = true, *this; }
  RankBeat beat;
};

std::vector<RankBeat> Ranks(std::vector<R> ranks) {
  std::vector<RankBeat> beats;
  for (const R& rank : ranks) beats.push_back(rank.beat);
  return beats;
}

TEST(FindHungRank, NamesTheOneThatIsBehind) {
  const auto hung = FindHungRank(
      Ranks({R(0).Age(13).Collective(8).Step(3), R(1).Age(13.5).Step(3).Collective(7)}), {});
  ASSERT_TRUE(hung);
  EXPECT_EQ(hung->rank, 1);
  EXPECT_EQ(hung->step, 3);
}

TEST(FindHungRank, NamesTheOneWhoseProcessIsSilentWhereverItStands) {
  // Stopped inside the collective in which the other waits for it: they stand at the same place.
  const auto hung = FindHungRank(
      Ranks({R(0).Age(13).Collective(8).Step(3).Silent(), R(1).Age(13.5).Collective(8).Step(3)}),
      {});
  ASSERT_TRUE(hung);
  EXPECT_EQ(hung->rank, 0);
}

TEST(FindHungRank, WaitsForTheDeadline) {
  // 15 s less the margin of 3 s.
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(11.9)}), {}));
  EXPECT_TRUE(FindHungRank(Ranks({R(0).Age(12)}), {}));
}

TEST(FindHungRank, LongStepsHaveSixTimesTheirP99) {
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(50).P99(10), R(1).Age(50)}), {}));
  EXPECT_TRUE(FindHungRank(Ranks({R(0).Age(57).P99(10), R(1).Age(57)}), {}));
}

TEST(FindHungRank, TheSpecMayAllowMore) {
  const HangLimits limits{.step_timeout = absl::Seconds(100)};
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(90)}), limits));
  EXPECT_TRUE(FindHungRank(Ranks({R(0).Age(98)}), limits));
}

TEST(FindHungRank, NobodyHangsWhileTheOthersWaitForOneThatWorks) {
  EXPECT_FALSE(
      FindHungRank(Ranks({R(0).Age(0.2).Phase("evaluating"), R(1).Age(60).Collective(1)}), {}));
}

TEST(FindHungRank, NobodyHangsWhileOneWaitsForTheCoordinatorOrLoads) {
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(60).Waits(), R(1).Age(60)}), {}));
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(60).Phase("loading"), R(1).Age(60)}), {}));
}

TEST(FindHungRank, AnAdoptedRankThatSaysNothingHangs) {
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(5).Phase(""), R(1).Age(60).Collective(3)}), {}));
  const auto hung = FindHungRank(Ranks({R(0).Age(13).Phase(""), R(1).Age(60).Collective(3)}), {});
  ASSERT_TRUE(hung);
  EXPECT_EQ(hung->rank, 0);
}

TEST(FindHungRank, WritingACheckpointMayTakeMinutes) {
  EXPECT_FALSE(FindHungRank(Ranks({R(0).Age(100).Phase("saving"), R(1).Age(100)}), {}));
  EXPECT_TRUE(FindHungRank(Ranks({R(0).Age(150).Phase("saving"), R(1).Age(150)}), {}));
}

TEST(FindHungRank, WithoutRanksThereIsNone) { EXPECT_FALSE(FindHungRank({}, {})); }

}  // namespace
}  // namespace trainyard::coordinator

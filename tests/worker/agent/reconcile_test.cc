#include "worker/agent/reconcile.h"

#include <gmock/gmock.h>

namespace trainyard::worker {
namespace {

using absl::Seconds;

RankKey Key(int attempt, int rank = 0) { return {JobId{"job"}, attempt, rank}; }

PresentRank Alive(const RankKey& key) {
  PresentRank rank{.key = key};
  rank.alive = true;
  return rank;
}

struct Case {
  const char* sentence;
  std::vector<WantedRank> wanted;
  std::vector<PresentRank> present;
  absl::Duration now;
  std::vector<std::pair<ActionKind, RankKey>> actions;
};

PresentRank With(PresentRank rank, const std::function<void(PresentRank&)>& change) {
  change(rank);
  return rank;
}

std::vector<Case> Cases() {
  const PresentRank dead{.key = Key(1)};
  return {
      {"nothing wanted, nothing here", {}, {}, Seconds(5), {}},
      {"a wanted rank that is not here is started",
       {{Key(1)}},
       {},
       Seconds(5),
       {{ActionKind::kStart, Key(1)}}},
      {"a wanted rank that runs is left alone", {{Key(1)}}, {Alive(Key(1))}, Seconds(5), {}},
      {"a wanted rank that ended is not started again", {{Key(1)}}, {dead}, Seconds(5), {}},
      {"a rank that is not wanted is killed",
       {},
       {Alive(Key(1))},
       Seconds(5),
       {{ActionKind::kKill, Key(1)}}},
      {"one kill is enough",
       {},
       {With(Alive(Key(1)), [](auto& r) { r.kill_sent = true; })},
       Seconds(5),
       {}},
      {"a new attempt waits for the old one's process to die",
       {{Key(2)}},
       {Alive(Key(1))},
       Seconds(5),
       {{ActionKind::kKill, Key(1)}}},
      {"a dead old attempt holds nothing",
       {{Key(2)}},
       {dead},
       Seconds(5),
       {{ActionKind::kStart, Key(2)}}},
      {"another rank of the job holds nothing",
       {{Key(1, 0)}, {Key(1, 1)}},
       {Alive(Key(1, 0))},
       Seconds(5),
       {{ActionKind::kStart, Key(1, 1)}}},
      {"a rank told to stop before it came to be is declined",
       {{Key(1), Stop::kCheckpoint}},
       {},
       Seconds(5),
       {{ActionKind::kDecline, Key(1)}}},
      {"a stopping rank has its grace",
       {{Key(1), Stop::kCheckpoint}},
       {With(Alive(Key(1)), [](auto& r) { r.stop_checkpoint_since = Seconds(1); })},
       Seconds(50.9),
       {}},
      {"and is killed when it is over",
       {{Key(1), Stop::kCheckpoint}},
       {With(Alive(Key(1)), [](auto& r) { r.stop_checkpoint_since = Seconds(1); })},
       Seconds(51),
       {{ActionKind::kKill, Key(1)}}},
      {"stopping at once shortens the grace",
       {{Key(1), Stop::kNow}},
       {With(Alive(Key(1)),
             [](auto& r) {
               r.stop_checkpoint_since = Seconds(1);
               r.stop_now_since = Seconds(2);
             })},
       Seconds(5),
       {{ActionKind::kKill, Key(1)}}},
      {"a dead rank stays until it is not wanted",
       {{Key(1)}},
       {With(dead, [](auto& r) { r.shipped = true; })},
       Seconds(5),
       {}},
      {"a dead rank stays until it is shipped",
       {},
       {With(dead, [](auto& r) { r.unwanted_since = Seconds(1); })},
       Seconds(5),
       {}},
      {"a dead, shipped rank that nobody wants is forgotten",
       {},
       {With(dead, [](auto& r) { r.shipped = true; })},
       Seconds(5),
       {{ActionKind::kForget, Key(1)}}},
      {"what cannot be shipped is forgotten after ten minutes",
       {},
       {With(dead, [](auto& r) { r.unwanted_since = Seconds(1); })},
       Seconds(601),
       {{ActionKind::kForget, Key(1)}}},
  };
}

TEST(Reconcile, DecidesAsItsTableSays) {
  for (const Case& c : Cases()) {
    std::vector<std::pair<ActionKind, RankKey>> actions;
    for (const Action& action : Reconcile(c.wanted, c.present, c.now, {})) {
      actions.emplace_back(action.kind, action.key);
      EXPECT_FALSE(action.why.empty()) << c.sentence;
    }
    EXPECT_EQ(actions, c.actions) << c.sentence;
  }
}

TEST(Reconcile, ItsDeadlineIsTheMomentItDecidesOtherwise) {
  for (const Case& c : Cases()) {
    const absl::Duration at = NextDeadline(c.present, {});
    if (at == absl::InfiniteDuration() || at <= c.now) continue;
    const auto before = Reconcile(c.wanted, c.present, at - absl::Nanoseconds(1), {});
    EXPECT_EQ(before, Reconcile(c.wanted, c.present, c.now, {})) << c.sentence;
    EXPECT_NE(before, Reconcile(c.wanted, c.present, at, {})) << c.sentence;
  }
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/agent/core.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using absl::Seconds;
using testing::IsEmpty;

RankKey Key(int attempt = 1, int rank = 0) { return {JobId{"job"}, attempt, rank}; }

v1::DesiredRank* Want(v1::DesiredState& desired, const RankKey& key, const char* stop = "none") {
  v1::DesiredRank& rank = *desired.add_ranks();
  rank.set_job_id(key.job.value);
  rank.set_attempt(key.attempt);
  rank.mutable_rank()->set_rank(key.rank);
  rank.set_recorded_step(-1);
  rank.set_stop(stop);
  return &rank;
}

v1::DesiredState Wanting(const RankKey& key, const char* stop = "none") {
  v1::DesiredState desired;
  Want(desired, key, stop);
  return desired;
}

link::RankStatus StatusOfRank(const RankKey& key, int64_t beat) {
  link::RankStatus status;
  status.job = key.job;
  status.attempt = key.attempt;
  status.rank = key.rank;
  status.phase = link::Phase::kTraining;
  status.beat = beat;
  return status;
}

RankRecord Adopted(const RankKey& key) {
  RankRecord record;
  record.key = key;
  record.process.pid = 77;
  return record;
}

class CoreTest : public testing::Test {
 protected:
  static v1::WorkerReport Hello() {
    v1::WorkerReport hello;
    hello.set_worker_id("worker-0");
    hello.add_slots()->set_device("cpu");
    return hello;
  }
  std::vector<ActionKind> Decide(absl::Duration now) {
    std::vector<ActionKind> kinds;
    for (const Action& action : core_.Decide(now)) kinds.push_back(action.kind);
    return kinds;
  }
  Core core_{Hello(), {}};
};

TEST_F(CoreTest, NothingHappensBeforeTheCoordinatorHasSpoken) {
  core_.Adopt(Adopted(Key()), Seconds(1));
  EXPECT_THAT(core_.Decide(Seconds(1000)), IsEmpty());
  EXPECT_EQ(core_.NextDeadline(), absl::InfiniteDuration());
  core_.OnDesired({}, Seconds(1001));
  EXPECT_THAT(Decide(Seconds(1001)), testing::ElementsAre(ActionKind::kKill));
}

TEST_F(CoreTest, ARankLivesFromWishToForgetting) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  EXPECT_THAT(Decide(Seconds(1)), testing::ElementsAre(ActionKind::kStart));
  core_.OnStarted(Key(), 4711, Seconds(1));
  EXPECT_THAT(core_.Decide(Seconds(2)), IsEmpty());
  EXPECT_EQ(core_.Report(Seconds(2)).ranks(0).process(), "spawning");
  core_.OnStatus(Key(), StatusOfRank(Key(), 3), Seconds(2));
  EXPECT_EQ(core_.Report(Seconds(2)).ranks(0).process(), "running");
  EXPECT_EQ(core_.Report(Seconds(2)).ranks(0).pid(), 4711);
  core_.OnEnded(Key(), {"succeeded", "", "", 0, 0}, Seconds(3));
  EXPECT_THAT(core_.Decide(Seconds(3)), IsEmpty());
  const v1::WorkerReport report = core_.Report(Seconds(3));
  EXPECT_EQ(report.ranks(0).process(), "exited");
  EXPECT_EQ(report.ranks(0).outcome().kind(), "succeeded");
  core_.OnDesired({}, Seconds(4));
  EXPECT_THAT(core_.Decide(Seconds(4)), IsEmpty());
  core_.OnShipped(Key());
  EXPECT_THAT(Decide(Seconds(5)), testing::ElementsAre(ActionKind::kForget));
  EXPECT_EQ(core_.Report(Seconds(5)).ranks_size(), 0);
}

TEST_F(CoreTest, TheBeatsAgeIsMeasuredHere) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  core_.OnStarted(Key(), 1, Seconds(10));
  core_.OnStatus(Key(), StatusOfRank(Key(), 3), Seconds(11));
  core_.OnStatus(Key(), StatusOfRank(Key(), 3), Seconds(15));
  EXPECT_DOUBLE_EQ(core_.Report(Seconds(18)).ranks(0).beat_age_seconds(), 7);
  core_.OnStatus(Key(), StatusOfRank(Key(), 4), Seconds(19));
  EXPECT_DOUBLE_EQ(core_.Report(Seconds(20)).ranks(0).beat_age_seconds(), 1);
  link::RankStatus waiting = StatusOfRank(Key(), 4);
  waiting.waiting_for_coordinator = true;
  core_.OnStatus(Key(), waiting, Seconds(30));
  EXPECT_DOUBLE_EQ(core_.Report(Seconds(30)).ranks(0).beat_age_seconds(), 0);
}

TEST_F(CoreTest, AReportSaysHowFarARankIsInsideItsPhase) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  core_.OnStarted(Key(), 1, Seconds(10));
  link::RankStatus loading = StatusOfRank(Key(), 3);
  loading.phase = link::Phase::kLoading;
  loading.doing = "reading weights, 120 of 538 MB";
  core_.OnStatus(Key(), loading, Seconds(11));
  EXPECT_EQ(core_.Report(Seconds(11)).ranks(0).phase(), "loading");
  EXPECT_EQ(core_.Report(Seconds(11)).ranks(0).doing(), loading.doing);
}

TEST_F(CoreTest, ARankThatSaysNothingForFiveSecondsIsSilent) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  core_.OnStarted(Key(), 1, Seconds(10));
  const auto process = [&](double at) { return core_.Report(Seconds(at)).ranks(0).process(); };
  EXPECT_EQ(process(60), "spawning");
  core_.OnStatus(Key(), StatusOfRank(Key(), 3), Seconds(61));
  EXPECT_EQ(process(65.9), "running");
  EXPECT_EQ(process(66), "silent");
  // Whoever waits for it says the same again every second: it lives, and makes no progress.
  core_.OnStatus(Key(), StatusOfRank(Key(), 3), Seconds(67));
  EXPECT_EQ(process(67), "running");
  EXPECT_DOUBLE_EQ(core_.Report(Seconds(67)).ranks(0).beat_age_seconds(), 6);
}

TEST_F(CoreTest, AStatusOfAnotherAttemptSaysNothing) {
  core_.OnDesired(Wanting(Key(2)), Seconds(1));
  core_.OnStarted(Key(2), 1, Seconds(1));
  core_.OnStatus(Key(2), StatusOfRank(Key(1), 3), Seconds(2));
  EXPECT_EQ(core_.Report(Seconds(2)).ranks(0).process(), "spawning");
}

TEST_F(CoreTest, TheDirectiveIsTheCoordinatorsWish) {
  v1::DesiredState desired;
  v1::DesiredRank& rank = *Want(desired, Key(), "checkpoint");
  rank.add_peers("127.0.0.1:1");
  rank.set_attempt_secret("s");
  rank.mutable_resume()->set_step(400);
  rank.mutable_resume()->set_key("checkpoints/job/step-00000400-a1");
  rank.set_recorded_step(400);
  core_.OnDesired(desired, Seconds(1));
  EXPECT_FALSE(core_.DirectiveFor(Key())->prepared.has_value());
  rank.set_prepare_done(true);
  rank.add_prepared()->set_name("tokenizer.json");
  core_.OnDesired(desired, Seconds(1));
  const link::Directive directive = *core_.DirectiveFor(Key());
  EXPECT_EQ(directive.prepared->at(0).name, "tokenizer.json");
  EXPECT_THAT(directive.peers, testing::ElementsAre("127.0.0.1:1"));
  EXPECT_EQ(directive.resume->step, 400);
  EXPECT_EQ(directive.recorded_step, 400);
  EXPECT_EQ(directive.stop, link::StopMode::kCheckpoint);
  EXPECT_FALSE(core_.DirectiveFor(Key(2)).has_value());
}

TEST_F(CoreTest, ARankThatDoesNotStopIsKilledOnceAndWeKnowWhy) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  core_.OnStarted(Key(), 1, Seconds(1));
  core_.OnDesired(Wanting(Key(), "now"), Seconds(5));
  core_.OnDesired(Wanting(Key(), "now"), Seconds(6));  // a repetition does not start it anew
  EXPECT_EQ(core_.NextDeadline(), Seconds(8));
  EXPECT_THAT(core_.Decide(Seconds(7.9)), IsEmpty());
  EXPECT_THAT(Decide(Seconds(8)), testing::ElementsAre(ActionKind::kKill));
  EXPECT_THAT(core_.Decide(Seconds(9)), IsEmpty());
  EXPECT_THAT(core_.KilledWhy(Key()), testing::HasSubstr("grace"));
}

TEST_F(CoreTest, ARankDeclinedIsReportedAsStoppedWithoutEverRunning) {
  core_.OnDesired(Wanting(Key(), "now"), Seconds(1));
  EXPECT_THAT(Decide(Seconds(1)), testing::ElementsAre(ActionKind::kDecline));
  EXPECT_EQ(core_.Report(Seconds(1)).ranks(0).outcome().reason(), "STOPPED");
  EXPECT_THAT(core_.Decide(Seconds(2)), IsEmpty());
}

TEST_F(CoreTest, DrainingStopsWhatRunsAndStartsNothing) {
  core_.OnDesired(Wanting(Key()), Seconds(1));
  core_.OnStarted(Key(), 1, Seconds(1));
  core_.Drain(Seconds(2));
  EXPECT_EQ(core_.DirectiveFor(Key())->stop, link::StopMode::kCheckpoint);
  EXPECT_EQ(core_.Report(Seconds(2)).slots_size(), 0);
  v1::DesiredState desired = Wanting(Key());
  Want(desired, Key(1, 1));
  core_.OnDesired(desired, Seconds(3));
  EXPECT_EQ(core_.DirectiveFor(Key())->stop, link::StopMode::kCheckpoint);
  EXPECT_THAT(core_.Decide(Seconds(3)), IsEmpty());
}

TEST_F(CoreTest, NamesThatWouldLeaveTheFolderAreNotObeyed) {
  core_.OnDesired(Wanting({JobId{"../../etc"}, 1, 0}), Seconds(1));
  EXPECT_THAT(core_.Decide(Seconds(1)), IsEmpty());
}

}  // namespace
}  // namespace trainyard::worker

// Workers that fall silent, come back, start again, or say what is no longer true.
#include <gmock/gmock.h>

#include "coordinator/coordinator.h"
#include "tests/coordinator/yard.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(Worker, ThatIsSilentForAMomentIsNamedAndNothingElse) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.Silence("worker-0");
  yard.Run(absl::Seconds(10));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  EXPECT_THAT(yard.Explain(job), HasSubstr("worker-0 has not reported for 1"));
  EXPECT_FALSE(yard.coordinator().Workers().at(0).reachable);
  yard.Unsilence("worker-0");
  yard.Run(absl::Seconds(2));
  EXPECT_THAT(yard.job(job).attempts, SizeIs(1));
  EXPECT_TRUE(yard.coordinator().Workers().at(0).reachable);
}

TEST(Worker, ThatIsLostLosesItsRanksToAnother) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 120);
  yard.Write(job, 100);
  yard.AddWorker("worker-1");
  yard.Silence("worker-0");
  yard.Run(absl::Seconds(25));
  ASSERT_THAT(yard.job(job).attempts, SizeIs(2));
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "WORKER_LOST");
  EXPECT_EQ(yard.job(job).attempts[1].ranks[0].slot.worker.value, "worker-1");
  EXPECT_THAT(yard.EventTypes({}), Contains("WorkerLost"));
  // When it comes back, its old rank is not wanted.
  yard.Unsilence("worker-0");
  yard.Run(absl::Seconds(2));
  EXPECT_FALSE(yard.has_process(job, 1, 0));
  EXPECT_EQ(yard.job(job).attempts.back().number, 2);
}

TEST(Worker, ACheckpointOfAnOlderAttemptIsRefusedAndCounted) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 120);
  RankReport& old_rank = yard.rank(job, 0);
  old_rank.checkpoint = WrittenCheckpoint{200, CheckpointKey(job, 200, 1), "stale", 1};
  yard.AddWorker("worker-1");
  yard.Silence("worker-0");
  yard.Run(absl::Seconds(25));
  ASSERT_THAT(yard.job(job).attempts, SizeIs(2));
  const int64_t stale = yard.coordinator().Stats().counters.stale_messages;
  yard.Unsilence("worker-0");
  yard.Run(absl::Seconds(1));
  EXPECT_THAT(yard.job(job).checkpoints, IsEmpty());
  EXPECT_GT(yard.coordinator().Stats().counters.stale_messages, stale);
}

TEST(Worker, WithTheFenceTakenAwayThatCheckpointWouldCount) {
  CoordinatorOptions options;
  options.check_fence = false;
  Yard yard(options);
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 120);
  RankReport& old_rank = yard.rank(job, 0);
  old_rank.checkpoint = WrittenCheckpoint{200, CheckpointKey(job, 200, 1), "stale", 1};
  yard.AddWorker("worker-1");
  yard.Silence("worker-0");
  yard.Run(absl::Seconds(25));
  yard.Unsilence("worker-0");
  yard.Run(absl::Seconds(1));
  EXPECT_THAT(yard.job(job).checkpoints, SizeIs(1));
}

TEST(Worker, WhoseDaemonStartsAgainKeepsItsRanks) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.RestartWorker("worker-0", /*with_processes=*/true);
  yard.Run(absl::Seconds(5));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  EXPECT_THAT(yard.job(job).attempts, SizeIs(1));
  const auto types = yard.EventTypes(job);
  EXPECT_EQ(std::count(types.begin(), types.end(), "RanksAdopted"), 1);
  EXPECT_THAT(yard.Explain(job), HasSubstr("daemon of worker-0 started again and goes on with "
                                           "rank 0"));
}

TEST(Worker, ThatStartsAgainWithoutItsRanksHasLostThem) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.RestartWorker("worker-0", /*with_processes=*/false);
  yard.Run(absl::Seconds(3));
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "KILLED");
  EXPECT_EQ(yard.job(job).attempts.back().number, 2);
}

TEST(Worker, WhoseOlderLifeSpeaksIsRefused) {
  Yard yard;
  yard.AddWorker("worker-0");
  WorkerReport old;
  old.worker = WorkerId{"worker-0"};
  old.epoch = "worker-0-1";
  old.version = "0.1";
  old.report_number = 99;
  yard.RestartWorker("worker-0", true);
  yard.Run(absl::Seconds(1));
  const auto answer = yard.coordinator().Report(old);
  EXPECT_THAT(answer->value.refused, HasSubstr("a newer daemon reports as worker-0"));
  EXPECT_THAT(answer->value.ranks, IsEmpty());
}

TEST(Worker, AnOldReportOfTheSameLifeChangesNothing) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  WorkerReport old;  // of before the rank was there
  old.worker = WorkerId{"worker-0"};
  old.epoch = "worker-0-1";
  old.report_number = 1;
  const auto answer = yard.coordinator().Report(old);
  EXPECT_THAT(answer->value.ranks, SizeIs(1));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  EXPECT_EQ(yard.coordinator().Workers().at(0).slots.size(), 1u);
}

TEST(Worker, OfAnotherVersionIsToldWhatToUpgrade) {
  CoordinatorOptions options;
  options.version = "0.3";
  SimulatedClock clock(absl::UnixEpoch());
  auto store = *Store::Open(":memory:");
  auto coordinator = *Coordinator::Open(options, clock, *store);
  WorkerReport report;
  report.worker = WorkerId{"w"};
  report.epoch = "e";
  for (const auto& [version, joins] : std::map<std::string, bool>{{"0.3", true},
                                                                  {"0.2", true},
                                                                  {"0.3.1", true},
                                                                  {"0.1", false},
                                                                  {"1.3", false},
                                                                  {"", false},
                                                                  {"x", false},
                                                                  {"0.4", false}}) {
    report.version = version;
    ++report.report_number;
    EXPECT_EQ(coordinator->Report(report)->value.refused.empty(), joins) << version;
  }
}

TEST(Worker, TakesRanksOnlyOnceItHasProvenThatItReachesTheBlobStore) {
  CoordinatorOptions options;
  options.blob_probe_key = "probe/1";
  options.blob_probe_digest = "abc";
  SimulatedClock clock(absl::UnixEpoch());
  auto store = *Store::Open(":memory:");
  auto coordinator = *Coordinator::Open(options, clock, *store);
  ASSERT_OK(coordinator->Create("client:ada", SpecOf("llm", 1), {}, "r", "x"));
  WorkerReport report;
  report.worker = WorkerId{"w"};
  report.epoch = "e";
  report.slots = {{0, "cpu", ""}};
  report.report_number = 1;
  EXPECT_EQ(coordinator->Report(report)->value.blob_probe_key, "probe/1");
  coordinator->Tick();
  EXPECT_THAT(coordinator->Explain("llm")->sentence, HasSubstr("has not proven yet"));
  report.blob_probe = "abc";
  report.report_number = 2;
  EXPECT_THAT(coordinator->Report(report)->value.ranks, SizeIs(1));
}

TEST(Worker, AMalformedReportIsRefusedWhole) {
  SimulatedClock clock(absl::UnixEpoch());
  auto store = *Store::Open(":memory:");
  auto coordinator = *Coordinator::Open({}, clock, *store);
  WorkerReport report;
  EXPECT_THAT(coordinator->Report(report),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("worker_id")));
  report.worker = WorkerId{"w"};
  report.epoch = "e";
  report.slots = {{0, "cpu", ""}, {0, "cpu", ""}};
  EXPECT_THAT(coordinator->Report(report),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("slot 0")));
  report.slots.clear();
  report.ranks.resize(1);
  EXPECT_THAT(coordinator->Report(report),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("job")));
  EXPECT_THAT(coordinator->Workers(), IsEmpty());
}

TEST(Coordinator, ThatStartsAgainBelievesTheRanksThatLive) {
  Yard yard;
  yard.AddWorker("worker-0").AddWorker("worker-1");
  const JobId job = yard.Submit("llm", 2);
  yard.Train(job, 10);
  yard.RestartCoordinator();
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  EXPECT_THAT(yard.EventTypes(job), Contains("CoordinatorRestarted"));
  for (int64_t step : {20, 30, 40, 50}) {
    yard.Train(job, step);
    yard.Run(absl::Seconds(8));
  }
  EXPECT_THAT(yard.job(job).attempts, SizeIs(1));
  yard.Finish(job);
  EXPECT_EQ(yard.state(job), JobState::kSucceeded);
}

TEST(Coordinator, ThatStartsAgainGivesWorkersTimeToReport) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.Silence("worker-0");
  yard.clock().Advance(absl::Minutes(10));
  yard.RestartCoordinator();
  yard.Run(absl::Seconds(15));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  yard.Run(absl::Seconds(10));
  EXPECT_EQ(yard.state(job), JobState::kRecovering);
}

TEST(Coordinator, StartsAgainInTheMiddleOfAnEnd) {
  Yard yard;
  yard.AddWorker("worker-0").AddWorker("worker-1");
  const JobId job = yard.Submit("llm", 2);
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, true, ""));
  yard.Report("worker-0");
  yard.RestartCoordinator();
  EXPECT_EQ(yard.state(job), JobState::kCancelling);
  // The event says what the cancel found.
  EXPECT_THAT(*yard.store().Events(job, 0, 100),
              Contains(Field(&Event::payload_json,
                             AllOf(HasSubstr("\"from\":\"RUNNING\""),
                                   HasSubstr("\"phases\":[\"training\",\"training\"]")))));
  yard.Run(absl::Seconds(3));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
}

TEST(Coordinator, GivesEachAttemptASecretOfItsOwn) {
  CoordinatorOptions options;
  options.attempt_key = "k";
  Yard yard(options);
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Run(absl::Seconds(1));
  const auto secret = [&] {
    return yard.coordinator().Desired(WorkerId{"worker-0"})->value.ranks.at(0).attempt_secret;
  };
  const std::string first = secret();
  EXPECT_EQ(first.size(), 64u);
  yard.RestartCoordinator();
  EXPECT_EQ(secret(), first);
  yard.Run(absl::Seconds(1));
  yard.Fail(job, 0, "KILLED", 9);
  yard.Run(absl::Seconds(3));
  EXPECT_NE(secret(), first);
}

// ------------------------------------------------------------------------------------ no progress

TEST(Hang, OfAStoppedRankIsNamedWithinTheDeadlineAndReplaced) {
  Yard yard;
  yard.AddWorker("worker-0").AddWorker("worker-1");
  const JobId job = yard.Submit("llm", 2);
  yard.Train(job, 37);
  // Rank 1 is stopped; rank 0 waits for it in its next collective.
  yard.rank(job, 0).live.collective_sequence = 38;
  yard.Run(absl::Seconds(11));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  EXPECT_THAT(yard.Explain(job), HasSubstr("rank 1 on worker-1 has made no progress for 1"));
  yard.Run(absl::Seconds(4));  // 15 s in all
  EXPECT_THAT(yard.Explain(job), HasSubstr("RankHung (attempt 1): rank 1 on worker-1 made no "
                                           "progress for"));
  EXPECT_THAT(yard.Explain(job), HasSubstr("at step 37"));
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "RANK_HUNG");
  EXPECT_THAT(yard.job(job).attempts, SizeIs(2));
  EXPECT_THAT(yard.Explain(job), HasSubstr("attempt 1 ended: rank 1 on worker-1"));
  EXPECT_EQ(yard.coordinator().Stats().counters.ranks_hung, 1);
}

TEST(Hang, OfARankWhoseDaemonStartsAgainIsNoticedAllTheSame) {
  for (const bool coordinator_too : {false, true}) {
    Yard yard;
    yard.AddWorker("worker-0").AddWorker("worker-1");
    const JobId job = yard.Submit("llm", 2);
    yard.Train(job, 37);
    // Rank 1 is stopped: the new daemon adopts it and hears nothing from it.
    yard.rank(job, 0).live.collective_sequence = 38;
    yard.RestartWorker("worker-1", /*with_processes=*/true);
    if (coordinator_too) yard.RestartCoordinator();
    RankLive& adopted = yard.rank(job, 1).live;
    adopted = RankLive();
    adopted.process = "spawning";
    yard.Run(absl::Seconds(17));
    EXPECT_EQ(yard.job(job).attempts[0].end_reason, "RANK_HUNG") << yard.Explain(job);
    EXPECT_THAT(yard.Explain(job), HasSubstr("attempt 1 ended: rank 1 on worker-1"));
    if (!coordinator_too) {
      EXPECT_THAT(yard.Explain(job), HasSubstr("at step 37"));
    }
  }
}

TEST(Hang, WaitingForTheCoordinatorHasNoDeadline) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 37);
  yard.rank(job, 0).live.waiting_for_coordinator = true;
  yard.Run(absl::Minutes(5));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
}

TEST(Hang, ARankThatDoesNotExitAfterTheLastStepIsReplaced) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 400);
  yard.Write(job, 400);
  yard.rank(job, 0).live.phase = "finishing";
  yard.rank(job, 0).live.waiting_for_coordinator = true;
  yard.Run(absl::Seconds(55));
  EXPECT_EQ(yard.state(job), JobState::kRunning);
  yard.Run(absl::Seconds(10));
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "EXIT_TIMEOUT");
  EXPECT_EQ(yard.job(job).attempts.back().resumed_from_step, 400);
}

TEST(Starting, HasItsTimeAnewWithEverySignOfProgress) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Run(absl::Seconds(2));
  for (int i = 0; i < 5; ++i) {
    ++yard.rank(job, 0).live.beat;
    yard.Run(absl::Minutes(20));
  }
  EXPECT_EQ(yard.state(job), JobState::kStarting);
  yard.Run(absl::Minutes(11));
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "START_TIMEOUT");
  EXPECT_THAT(yard.job(job).attempts, SizeIs(2));
}

}  // namespace
}  // namespace trainyard::coordinator

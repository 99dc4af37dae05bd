// Cancel: with a last checkpoint, without one, and whatever it finds.
#include <gmock/gmock.h>

#include "coordinator/coordinator.h"
#include "tests/coordinator/yard.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST(Cancel, OfAWaitingJobIsDoneAtOnce) {
  Yard yard;
  const JobId job = yard.Submit("llm");
  const auto answer = yard.coordinator().Cancel("client:ada", job.value, false, "");
  EXPECT_EQ(answer->value->state, JobState::kCancelled);
  EXPECT_THAT(yard.job(job).message, HasSubstr("client:ada"));
}

TEST(Cancel, FreesTheSlotsWhenEveryRankIsKnownToBeGone) {
  Yard yard;
  yard.AddWorker("worker-0").AddWorker("worker-1");
  const JobId job = yard.Submit("llm", 2);
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, true, ""));
  EXPECT_EQ(yard.state(job), JobState::kCancelling);
  EXPECT_EQ(yard.coordinator().Desired(WorkerId{"worker-0"})->value.ranks.at(0).stop, Stop::kNow);
  EXPECT_THAT(yard.coordinator().SlotsInUse(), SizeIs(2));
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
  EXPECT_THAT(yard.coordinator().SlotsInUse(), IsEmpty());
}

Stop ToldTo(Yard& yard) {
  return yard.coordinator().Desired(WorkerId{"worker-0"})->value.ranks.at(0).stop;
}

void StopAsAsked(Yard& yard, const JobId& job, int32_t rank) {
  yard.rank(job, rank).live.process = "exited";
  yard.rank(job, rank).outcome =
      Outcome{.kind = "stopped", .reason = "STOPPED", .message = "stopped after step 10, as asked"};
}

TEST(Cancel, LetsTheRanksFinishTheirStepAndRecordsItsCheckpoint) {
  Yard yard;
  yard.AddWorker("worker-0").AddWorker("worker-1");
  const JobId job = yard.Submit("llm", 2);
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  EXPECT_EQ(ToldTo(yard), Stop::kCheckpoint);
  yard.Run(absl::Seconds(5));
  EXPECT_EQ(yard.state(job), JobState::kCancelling) << "it waits for the checkpoint";
  yard.Write(job, 10);
  EXPECT_EQ(NewestCheckpoint(yard.job(job))->step, 10);
  StopAsAsked(yard, job, 0);
  yard.Report("worker-0");
  EXPECT_EQ(ToldTo(yard), Stop::kNow) << "the other rank has nothing to wait for";
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
  EXPECT_EQ(yard.job(job).message,
            "cancelled by client:ada; the checkpoint of step 10 is recorded");
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "CANCELLED");
  EXPECT_THAT(yard.coordinator().SlotsInUse(), IsEmpty());
}

TEST(Cancel, NowCutsALastCheckpointShort) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  EXPECT_EQ(ToldTo(yard), Stop::kCheckpoint);
  ASSERT_OK(yard.coordinator().Cancel("client:bob", job.value, true, ""));
  EXPECT_EQ(ToldTo(yard), Stop::kNow);
  yard.RestartCoordinator();
  EXPECT_EQ(ToldTo(yard), Stop::kNow);
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
  EXPECT_THAT(yard.job(job).checkpoints, IsEmpty());
  EXPECT_THAT(yard.job(job).message, HasSubstr("client:bob"));
}

TEST(Cancel, DoesNotWaitForACheckpointThatNeverComes) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  yard.Run(absl::Seconds(55));
  EXPECT_EQ(ToldTo(yard), Stop::kCheckpoint);
  yard.Run(absl::Seconds(10));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "STOP_UNCONFIRMED");
}

TEST(Cancel, WaitsForACheckpointAsLongAsBytesOfItArrive) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  yard.rank(job, 0).live.phase = "saving";
  for (int i = 0; i < 5; ++i) {
    yard.Run(absl::Seconds(40));
    ++yard.rank(job, 0).live.beat;
  }
  EXPECT_EQ(ToldTo(yard), Stop::kCheckpoint);
  yard.Write(job, 10);
  EXPECT_EQ(NewestCheckpoint(yard.job(job))->step, 10);
}

TEST(Cancel, OfAnAttemptThatHasDoneNoStepYetIsAsNow) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Run(absl::Seconds(2));  // it prepares its data
  ASSERT_EQ(yard.state(job), JobState::kStarting);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  EXPECT_EQ(ToldTo(yard), Stop::kNow);
}

TEST(Cancel, OfARankThatDiesWhileItSavesEndsAsCancelled) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  yard.Fail(job, 0, "KILLED", 9);
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
  EXPECT_EQ(yard.job(job).attempts[0].end_reason, "KILLED");
  EXPECT_THAT(yard.job(job).attempts, SizeIs(1));
}

TEST(Cancel, BeforeItsRanksWereStartedEndsToo) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.coordinator().Tick();  // placed; the worker has not heard of it
  ASSERT_EQ(yard.state(job), JobState::kStarting);
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, true, ""));
  yard.Run(absl::Seconds(3));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
}

TEST(Cancel, WithASilentWorkerEndsOnceTheWorkerIsLost) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.Silence("worker-0");
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, true, ""));
  yard.Run(absl::Seconds(15));
  EXPECT_EQ(yard.state(job), JobState::kCancelling);
  yard.Run(absl::Seconds(10));
  EXPECT_EQ(yard.state(job), JobState::kCancelled);
}

TEST(Cancel, IsFinalAndMayBeRepeated) {
  Yard yard;
  const JobId job = yard.Submit("llm");
  ASSERT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  EXPECT_OK(yard.coordinator().Cancel("client:ada", job.value, false, ""));
  EXPECT_FALSE(yard.coordinator().Retry("client:ada", job.value, "").ok());
}

TEST(Cancel, WithAnOldEtagIsRefused) {
  Yard yard;
  const JobId job = yard.Submit("llm");
  EXPECT_THAT(yard.coordinator().Cancel("client:ada", job.value, false, "77"),
              StatusIs(StatusCode::kAborted, HasSubstr("changed")));
}

TEST(Cancel, OfAFinishedJobIsRefused) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 10);
  yard.Finish(job);
  EXPECT_THAT(yard.coordinator().Cancel("client:ada", job.value, false, ""),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("SUCCEEDED")));
}

}  // namespace
}  // namespace trainyard::coordinator

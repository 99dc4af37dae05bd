// Delete: of jobs that have ended, of single checkpoints, and what stands against it.
#include <gmock/gmock.h>

#include "coordinator/coordinator.h"
#include "tests/coordinator/yard.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kAda[] = "client:ada";

// A job with recorded checkpoints of steps 300 and 400, SUCCEEDED; its garbage is taken.
JobId Done(Yard& yard, const std::string& name = "llm") {
  const JobId job = yard.Submit(name);
  yard.Train(job, 310);
  yard.Write(job, 300);
  yard.Finish(job);
  EXPECT_EQ(yard.state(job), JobState::kSucceeded);
  yard.coordinator().TakeGarbage(100);
  return job;
}

JobSpec From(const std::string& ref) {
  JobSpec spec = SpecOf("further", 1);
  spec.model.preset.clear();
  spec.model.from = ref;
  spec.model.files = {{"config.json", std::string(64, 'c'), 2},
                      {"model.safetensors", std::string(64, 'b'), 7}};
  return spec;
}

TEST(Delete, LeavesNothingOfTheJobButOneEvent) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = Done(yard);
  ASSERT_OK(yard.coordinator().Delete(kAda, job.value, ""));
  EXPECT_THAT(yard.coordinator().Get(job.value), StatusIs(StatusCode::kNotFound, HasSubstr("llm")));
  EXPECT_FALSE(yard.coordinator().Knows(job));
  EXPECT_THAT(yard.EventTypes(job), ElementsAre("JobDeleted"));
  yard.RestartCoordinator();
  EXPECT_THAT(yard.coordinator().List({})->value.jobs, IsEmpty());
  EXPECT_THAT(*yard.store().LoadJobs(), IsEmpty());
}

TEST(Delete, MakesItsFilesGarbageAlsoAfterARestart) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = Done(yard);
  ASSERT_OK(yard.coordinator().Delete(kAda, job.value, ""));
  const auto all_of_it =
      ElementsAre(AllOf(Field(&Garbage::job, job), Field(&Garbage::whole_job, true)));
  const auto garbage = yard.coordinator().TakeGarbage(10);
  EXPECT_THAT(garbage.value, all_of_it);
  EXPECT_GT(garbage.durable_after, yard.store().durable_sequence());
  yard.RestartCoordinator();
  EXPECT_THAT(yard.coordinator().TakeGarbage(10).value, all_of_it);
}

TEST(Delete, OfAJobThatHasNotEndedSaysToCancelItFirst) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId running = yard.Submit("llm"), queued = yard.Submit("later");
  yard.Train(running, 10);
  for (const JobId& job : {running, queued}) {
    const auto refused = yard.coordinator().Delete(kAda, job.value, "");
    EXPECT_THAT(refused, StatusIs(StatusCode::kFailedPrecondition,
                                  HasSubstr("trainyard cancel " + job.value)));
    EXPECT_EQ(ReasonOf(refused.status()), "JOB_NOT_ENDED");
  }
  ASSERT_OK(yard.coordinator().Cancel(kAda, queued.value, false, ""));
  EXPECT_OK(yard.coordinator().Delete(kAda, queued.value, ""));
}

TEST(Delete, HeedsTheEtag) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = Done(yard);
  EXPECT_THAT(yard.coordinator().Delete(kAda, job.value, "77"),
              StatusIs(StatusCode::kAborted, HasSubstr("changed")));
  EXPECT_OK(yard.coordinator().Delete(kAda, job.value, EtagOf(yard.job(job))));
}

TEST(Delete, ANameMeansTheNewestJobThatIsLeft) {
  Yard yard;
  const JobId first = yard.Submit("llm"), second = yard.Submit("llm");
  ASSERT_OK(yard.coordinator().Cancel(kAda, second.value, false, ""));
  ASSERT_OK(yard.coordinator().Delete(kAda, "llm", ""));
  EXPECT_EQ(yard.coordinator().Get("llm")->value.job->id, first);
  ASSERT_OK(yard.coordinator().Cancel(kAda, first.value, false, ""));
  ASSERT_OK(yard.coordinator().Delete(kAda, "llm", ""));
  EXPECT_FALSE(yard.coordinator().Get("llm").ok());
  EXPECT_OK(yard.coordinator().Get(yard.Submit("llm").value));
}

TEST(Delete, APageGoesOnWhereItWasThoughJobsAreGone) {
  Yard yard;
  std::vector<JobId> jobs;
  for (int i = 0; i < 6; ++i) {
    jobs.push_back(yard.Submit("llm" + std::to_string(i)));
    ASSERT_OK(yard.coordinator().Cancel(kAda, jobs.back().value, false, ""));
  }
  for (const bool newest_first : {true, false}) {
    JobFilter filter;
    filter.newest_first = newest_first;
    filter.limit = 2;
    const auto first = yard.coordinator().List(filter);
    filter.page_token = first->value.next_page_token;
    filter.limit = 10;
    const auto left = yard.coordinator().List(filter)->value.jobs;
    // One of the first page, and the one with which the second would begin.
    ASSERT_OK(yard.coordinator().Delete(kAda, first->value.jobs[0].job->id.value, ""));
    ASSERT_OK(yard.coordinator().Delete(kAda, left[0].job->id.value, ""));
    const auto second = yard.coordinator().List(filter)->value.jobs;
    ASSERT_EQ(second.size(), left.size() - 1) << newest_first;
    for (size_t i = 0; i < second.size(); ++i)
      EXPECT_EQ(second[i].job->id, left[i + 1].job->id) << newest_first;
  }
}

TEST(Delete, WaitsForAJobThatGoesOnFromItsCheckpoint) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = Done(yard);
  const JobId user = yard.Submit(From("job:" + job.value + "@300"));
  const std::string key300 = CheckpointKey(job, 300, 1), key400 = CheckpointKey(job, 400, 1);
  for (const auto& refused : {yard.coordinator().Delete(kAda, job.value, ""),
                              yard.coordinator().DeleteCheckpoint(kAda, job, key300)}) {
    EXPECT_THAT(refused, StatusIs(StatusCode::kFailedPrecondition, HasSubstr(user.value)));
    EXPECT_EQ(ReasonOf(refused.status()), "CHECKPOINT_IN_USE");
  }
  EXPECT_OK(yard.coordinator().DeleteCheckpoint(kAda, job, key400)) << "that one nobody uses";
  // Once it has ended, what it needs to be tried again lies in files of its own.
  ASSERT_OK(yard.coordinator().Cancel(kAda, user.value, true, ""));
  yard.Run(absl::Seconds(2));
  EXPECT_OK(yard.coordinator().Delete(kAda, job.value, ""));
}

// --------------------------------------------------------------------------- single checkpoints

TEST(DeleteCheckpoint, DropsItsRecordAndItsFolder) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = Done(yard);
  for (const int64_t step : {400, 300}) {  // the newest of a SUCCEEDED job too
    const std::string key = CheckpointKey(job, step, 1);
    ASSERT_OK(yard.coordinator().DeleteCheckpoint(kAda, job, key));
    EXPECT_THAT(yard.coordinator().TakeGarbage(10).value,
                testing::Contains(Field(&Garbage::folder, key)));
    EXPECT_EQ(ReasonOf(yard.coordinator().DeleteCheckpoint(kAda, job, key).status()),
              "CHECKPOINT_NOT_FOUND");
  }
  EXPECT_THAT(yard.job(job).checkpoints, IsEmpty());
  EXPECT_EQ(yard.state(job), JobState::kSucceeded);
}

TEST(DeleteCheckpoint, KeepsTheNewestOfAJobThatWouldGoOnFromIt) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 210);
  for (const int64_t step : {100, 200}) yard.Write(job, step);
  const std::string newest = CheckpointKey(job, 200, 1), older = CheckpointKey(job, 100, 1);
  const auto running = yard.coordinator().DeleteCheckpoint(kAda, job, newest);
  EXPECT_THAT(running,
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("cancel the job first")));
  EXPECT_EQ(ReasonOf(running.status()), "CHECKPOINT_NEEDED");
  EXPECT_OK(yard.coordinator().DeleteCheckpoint(kAda, job, older));
  yard.Fail(job, 0, "BAD_INPUT");
  yard.Run(absl::Seconds(2));
  ASSERT_EQ(yard.state(job), JobState::kFailed);
  EXPECT_THAT(yard.coordinator().DeleteCheckpoint(kAda, job, newest),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("trainyard retry")));
}

TEST(Retry, PassesOverCheckpointsThatWereRemovedByHand) {
  Yard yard;
  yard.AddWorker("worker-0");
  const JobId job = yard.Submit("llm");
  yard.Train(job, 210);
  for (const int64_t step : {100, 200}) yard.Write(job, step);
  yard.Fail(job, 0, "BAD_INPUT");
  yard.Run(absl::Seconds(2));
  ASSERT_EQ(yard.state(job), JobState::kFailed);
  const auto retried =
      yard.coordinator().Retry(kAda, job.value, "", {}, {CheckpointKey(job, 200, 1)});
  ASSERT_OK(retried);
  EXPECT_EQ(
      retried->value->message,
      "retried by client:ada, from step 100 (checkpoint 200: its folder was removed by hand)");
  EXPECT_THAT(yard.job(job).checkpoints, ElementsAre(Field(&Checkpoint::step, 100)));
  yard.Run(absl::Seconds(2));
  EXPECT_EQ(yard.job(job).attempts.back().resumed_from_step, 100);
}

}  // namespace
}  // namespace trainyard::coordinator

#include "coordinator/state/change.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

constexpr absl::Time kNoon = absl::FromUnixSeconds(1'700'000'000);

Job NewJob() {
  JobSpec spec;
  spec.name = "llm";
  spec.kind = "pretrain";
  spec.train.max_steps = 400;
  Job job;
  job.id = JobId{"llm-x7k2q"};
  job.spec = std::make_shared<const JobSpec>(spec);
  job.origins = {{"train.max_steps", "job file"}};
  job.creator = "client:ada";
  job.request_id = "r1";
  job.create_time = kNoon;
  return job;
}

// Applies changes one second after another.
class Story {
 public:
  Story() : job_(*Apply({}, JobCreated(NewJob()), kNoon)) {}
  Story& Then(const Change& change) {
    now_ += absl::Seconds(1);
    StatusOr<Job> next = Apply(job_, change, now_);
    EXPECT_OK(next);
    if (next.ok()) job_ = *std::move(next);
    return *this;
  }
  Story& Goes(JobState to) { return Then(JobStateChanged(job_.state, to, {"WHY", {}, "because"})); }
  const Job& job() const { return job_; }
  absl::Time now() const { return now_; }

 private:
  Job job_;
  absl::Time now_ = kNoon;
};

Attempt AttemptOf(AttemptNumber number, int64_t from = -1) {
  Attempt attempt;
  attempt.number = number;
  attempt.resumed_from_step = from;
  RankPlacement rank;
  rank.slot = {WorkerId{"worker-0"}, 0};
  attempt.ranks = {rank};
  return attempt;
}

Checkpoint CheckpointOf(int64_t step, AttemptNumber attempt) {
  Checkpoint checkpoint;
  checkpoint.job = JobId{"llm-x7k2q"};
  checkpoint.step = step;
  checkpoint.attempt = attempt;
  checkpoint.key = CheckpointKey(checkpoint.job, step, attempt);
  checkpoint.manifest_digest = "d";
  return checkpoint;
}

Why Killed() { return {"KILLED", ReasonOwner::kInfra, "rank 0 was killed"}; }

TEST(Change, ACreatedJobIsWhatWasAskedFor) {
  const Story story;
  const Job& job = story.job();
  EXPECT_EQ(job.id.value, "llm-x7k2q");
  EXPECT_EQ(job.state, JobState::kPending);
  EXPECT_EQ(job.spec->train.max_steps, 400);
  EXPECT_EQ(job.origins.at("train.max_steps"), "job file");
  EXPECT_EQ(job.create_time, kNoon);
}

TEST(Change, EveryChangeOfTheJobRaisesItsRevision) {
  Story story;
  const int64_t before = story.job().revision;
  story.Goes(JobState::kQueued);
  EXPECT_EQ(story.job().revision, before + 1);
  story.Then(Happened("RankExited", 1, "rank 0 exited", Json::object()));
  EXPECT_EQ(story.job().revision, before + 1);
}

TEST(Change, AnIllegalTransitionIsRefused) {
  const Story story;
  EXPECT_THAT(
      Apply(story.job(), JobStateChanged(JobState::kPending, JobState::kRunning, {}), kNoon),
      StatusIs(StatusCode::kDataLoss, HasSubstr("cannot go from \"PENDING\"")));
}

TEST(Change, AStateOnTheWayHasADeadline) {
  Story story;
  story.Goes(JobState::kQueued)
      .Then(AttemptStarted(AttemptOf(1), "here"))
      .Goes(JobState::kStarting);
  EXPECT_EQ(story.job().state_deadline, story.now() + FindDeadline(JobState::kStarting)->within);
  story.Goes(JobState::kRunning);
  EXPECT_EQ(story.job().state_deadline, absl::InfiniteFuture());
}

TEST(Change, AnAttemptKeepsItsPlaceUntilItHasEnded) {
  Story story;
  story.Goes(JobState::kQueued).Then(AttemptStarted(AttemptOf(1), "here"));
  story.Then(AttemptEnding(story.job().attempts.back(), Killed(), true));
  ASSERT_NE(OpenAttempt(story.job()), nullptr);
  EXPECT_TRUE(IsEnding(*OpenAttempt(story.job())));
  EXPECT_EQ(story.job().attempts_without_progress, 1);
  story.Then(AttemptEnded(story.job().attempts.back(), Killed()));
  EXPECT_EQ(OpenAttempt(story.job()), nullptr);
  EXPECT_EQ(story.job().attempts.back().end_reason, "KILLED");
}

TEST(Change, ASecondAttemptCannotStartBesideTheFirst) {
  Story story;
  story.Goes(JobState::kQueued).Then(AttemptStarted(AttemptOf(1), "here"));
  EXPECT_FALSE(Apply(story.job(), AttemptStarted(AttemptOf(2), "there"), kNoon).ok());
}

TEST(Change, ANewerCheckpointForgivesTheAttemptsBefore) {
  Story story;
  story.Goes(JobState::kQueued).Then(AttemptStarted(AttemptOf(1), "here"));
  story.Then(AttemptEnding(story.job().attempts.back(), Killed(), true));
  story.Then(CheckpointCommitted(CheckpointOf(100, 1)));
  EXPECT_EQ(story.job().attempts_without_progress, 0);
  story.Then(CheckpointCommitted(CheckpointOf(200, 1)))
      .Then(CheckpointDeleted(CheckpointOf(100, 1), "limit"));
  EXPECT_THAT(story.job().checkpoints, ElementsAre(Field(&Checkpoint::step, 200)));
}

TEST(Change, TheDerivedRowHoldsEverything) {
  Story story;
  story.Goes(JobState::kQueued).Then(AttemptStarted(AttemptOf(1, 50), "here"));
  story.Goes(JobState::kStarting)
      .Then(JobPrepared(1, {{"train-0.tok", "prepared/ab", "ab", 10}}, {}))
      .Then(CheckpointCommitted(CheckpointOf(100, 1)));
  StatusOr<Job> read = JobFromBirth(BirthToJson(story.job()));
  ASSERT_OK(read);
  ASSERT_OK(ReadProgress(ProgressToJson(story.job()), *read));
  EXPECT_EQ(BirthToJson(*read).dump(), BirthToJson(story.job()).dump());
  EXPECT_EQ(ProgressToJson(*read).dump(), ProgressToJson(story.job()).dump());
  EXPECT_EQ(read->attempts.back().ranks.front().slot.worker.value, "worker-0");
}

TEST(Change, ARowWithoutItsFieldsIsDataLossAndNotACrash) {
  Job job;
  EXPECT_THAT(ReadProgress(Json::parse(R"({"state": "RUNNING"})"), job),
              StatusIs(StatusCode::kDataLoss, HasSubstr("reason")));
  EXPECT_THAT(JobFromBirth(Json::parse(R"({"id": 5})")),
              StatusIs(StatusCode::kDataLoss, HasSubstr("a job")));
}

}  // namespace
}  // namespace trainyard::coordinator

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include "coordinator/service/sweeper.h"
#include "coordinator/service/usage.h"
#include "coordinator/service/usage_series.h"
#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class DeleteServiceTest : public ServiceTest {
 protected:
  // A job that was cancelled in the queue, with files as if it had run.
  v1::Job Ended(const std::string& name) {
    const v1::Job job = Create(Request(name));
    const auto context = AsAdmin();
    v1::CancelJobRequest request;
    request.set_name(job.name());
    v1::Job cancelled;
    EXPECT_OK(FromGrpc(jobs_->CancelJob(context.get(), request, &cancelled)));
    EXPECT_EQ(cancelled.state(), v1::CANCELLED);
    EXPECT_OK(blobs_->Put(FolderOf(job) + "/step-00000100-a1/model.safetensors", "weights"));
    EXPECT_OK(history_->AppendNote(JobId{job.job_id()}, {.type = "evaluation", .message = "done"}));
    return cancelled;
  }
  static std::string FolderOf(const v1::Job& job) { return "checkpoints/" + job.job_id(); }
  bool HasHistory(const v1::Job& job) const {
    return std::filesystem::exists(folder_.path() / "history" / job.job_id());
  }
  StatusOr<v1::Job> Delete(const std::string& name, const std::string& request_id = "",
                           const std::string& etag = "") {
    const auto context = AsAdmin();
    v1::DeleteJobRequest request;
    request.set_name(name);
    request.set_request_id(request_id);
    request.set_etag(etag);
    v1::Job job;
    RETURN_IF_ERROR(FromGrpc(jobs_->DeleteJob(context.get(), request, &job)));
    return job;
  }
  StatusOr<v1::GetUsageResponse> GetUsage() {
    const auto context = AsAdmin();
    v1::GetUsageResponse response;
    RETURN_IF_ERROR(FromGrpc(blob_calls_->GetUsage(context.get(), {}, &response)));
    return response;
  }
  void Sweep() {
    Sweeper sweeper(*coordinator_, *store_, *blobs_, *history_, clock_);
    for (int i = 0; i < 20; ++i) sweeper.Sweep();
  }
};

TEST_F(DeleteServiceTest, AnswersWithTheJobAndItsFilesGo) {
  const v1::Job job = Ended("one"), other = Ended("two");
  ASSERT_OK_AND_ASSIGN(const v1::Job deleted, Delete(job.name(), "", job.etag()));
  EXPECT_EQ(deleted.job_id(), job.job_id());
  EXPECT_EQ(deleted.spec().train().max_steps(), 400);
  EXPECT_EQ(ReasonOf(Delete(job.name()).status()), "JOB_NOT_FOUND");
  Sweep();
  EXPECT_THAT(*blobs_->Folders("checkpoints"), ElementsAre(FolderOf(other)));
  EXPECT_FALSE(HasHistory(job));
  EXPECT_TRUE(HasHistory(other));
  Restart();
  EXPECT_EQ(ReasonOf(Delete(job.name()).status()), "JOB_NOT_FOUND");
  EXPECT_OK(Delete(other.name()));
}

TEST_F(DeleteServiceTest, FilesThatWereLeftAreDeletedAfterARestart) {
  const v1::Job job = Ended("one");
  ASSERT_OK(Delete(job.name()));
  Restart();
  EXPECT_TRUE(HasHistory(job));
  Sweep();
  EXPECT_FALSE(HasHistory(job));
  EXPECT_THAT(*blobs_->Folders("checkpoints"), IsEmpty());
}

TEST_F(DeleteServiceTest, ARepeatGetsTheFirstAnswer) {
  const v1::Job job = Ended("one");
  ASSERT_OK_AND_ASSIGN(const v1::Job first, Delete(job.name(), "d-1"));
  ASSERT_OK_AND_ASSIGN(const v1::Job again, Delete(job.name(), "d-1"));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(first, again));
  EXPECT_EQ(FieldOf(Delete(job.name(), std::string(65, 'x')).status()), "request_id");
}

TEST_F(DeleteServiceTest, UsageIsByKindAndByJob) {
  const v1::Job job = Ended("one");
  ASSERT_OK(blobs_->Put(FolderOf(Ended("two")) + "/step-00000200-a1/model.safetensors", "more"));
  ASSERT_OK(blobs_->Put("prepared/ab/train-0.tok", "tokens"));
  ASSERT_OK_AND_ASSIGN(const v1::GetUsageResponse usage, GetUsage());
  std::map<std::string, std::pair<int64_t, int64_t>> kinds;
  for (const v1::KindUsage& kind : usage.kinds())
    kinds[kind.kind()] = {kind.files(), kind.size_bytes()};
  EXPECT_EQ(kinds["checkpoints"], std::pair(int64_t{3}, int64_t{7 + 7 + 4}));
  EXPECT_EQ(kinds["prepared"], std::pair(int64_t{1}, int64_t{6}));
  EXPECT_EQ(kinds["datasets"].first, 1);
  EXPECT_EQ(kinds["history"].first, 2);
  EXPECT_GT(kinds["database"].second, 0);
  ASSERT_THAT(usage.jobs(), SizeIs(2));
  EXPECT_EQ(usage.jobs(0).checkpoints(), 2);
  EXPECT_EQ(usage.jobs(0).size_bytes(), 11);
  EXPECT_EQ(usage.jobs(1).job_id(), job.job_id());
  EXPECT_TRUE(usage.complete());
  EXPECT_GT(usage.disk_bytes(), usage.free_bytes());
}

TEST_F(DeleteServiceTest, UsageCountsNoMoreFilesThanItMay) {
  Ended("one");
  Ended("two");
  const auto usage = MeasureUsage(*blobs_, *history_, *store_, clock_.Now(), /*files_max=*/1);
  ASSERT_OK(usage);
  EXPECT_EQ(usage->kinds[0].files, 1);
  EXPECT_FALSE(usage->complete);
}

TEST_F(DeleteServiceTest, UsageIsMeasuredOnceForManyAndShownToPrometheus) {
  const auto series = std::make_shared<UsageSeries>(*usage_);
  metrics_->Add(series);
  EXPECT_THAT(metrics_->Exposition(), testing::Not(HasSubstr("trainyard_store_bytes")));
  Ended("one");
  const auto first = usage_->Measure();
  ASSERT_OK(first);
  Ended("two");
  EXPECT_EQ(*usage_->Measure(), *first);
  EXPECT_THAT(metrics_->Exposition(), HasSubstr("trainyard_store_bytes{kind=\"checkpoints\"} 7"));
  EXPECT_THAT(metrics_->Exposition(), HasSubstr("trainyard_store_free_bytes "));
}

}  // namespace
}  // namespace trainyard::coordinator

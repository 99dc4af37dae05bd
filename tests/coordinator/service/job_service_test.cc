#include "coordinator/service/job_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;

class JobServiceTest : public ServiceTest {
 protected:
  grpc::Status TryCreate(const v1::CreateJobRequest& request) {
    const auto context = AsAdmin();
    v1::Job job;
    return jobs_->CreateJob(context.get(), request, &job);
  }
  StatusOr<v1::Job> Get(const std::string& name) {
    const auto context = AsAdmin();
    v1::GetJobRequest request;
    request.set_name(name);
    v1::Job job;
    RETURN_IF_ERROR(FromGrpc(jobs_->GetJob(context.get(), request, &job)));
    return job;
  }
  StatusOr<v1::ListJobsResponse> List(const v1::ListJobsRequest& request) {
    const auto context = AsAdmin();
    v1::ListJobsResponse response;
    RETURN_IF_ERROR(FromGrpc(jobs_->ListJobs(context.get(), request, &response)));
    return response;
  }
  StatusOr<v1::Job> Cancel(const std::string& name, const std::string& etag = "") {
    const auto context = AsAdmin();
    v1::CancelJobRequest request;
    request.set_name(name);
    request.set_etag(etag);
    v1::Job job;
    RETURN_IF_ERROR(FromGrpc(jobs_->CancelJob(context.get(), request, &job)));
    return job;
  }
};

TEST_F(JobServiceTest, AnAcknowledgedJobIsThereAfterARestart) {
  const v1::Job created = Create(Request());
  EXPECT_EQ(created.display_name(), "shakespeare");
  EXPECT_EQ(created.name(), "projects/default/jobs/" + created.job_id());
  EXPECT_EQ(created.creator(), "client:client-1");
  EXPECT_EQ(created.spec().train().max_steps(), 400);
  EXPECT_EQ(created.spec().train().lr_scheduler_type(), "cosine");  // a default, written out
  EXPECT_EQ(created.origins().at("train.lr_scheduler_type"), "default");
  EXPECT_GT(created.spec().train().micro_batch_size(), 0);
  Restart();
  ASSERT_OK_AND_ASSIGN(const v1::Job again, Get(created.name()));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(again.spec(), created.spec()));
}

TEST_F(JobServiceTest, ARepeatedRequestIdGivesTheFirstJobAlsoAfterARestart) {
  v1::CreateJobRequest request = Request();
  request.set_request_id("r-1");
  const v1::Job first = Create(request);
  EXPECT_EQ(Create(request).job_id(), first.job_id());
  Restart();
  EXPECT_EQ(Create(request).job_id(), first.job_id());
  request.set_request_id("r-2");
  EXPECT_NE(Create(request).job_id(), first.job_id());
  request.set_request_id(std::string(65, 'x'));
  const grpc::Status status = TryCreate(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldOf(FromGrpc(status)), "request_id");
}

TEST_F(JobServiceTest, ValidateOnlyResolvesAndStoresNothing) {
  v1::CreateJobRequest request = Request();
  request.set_validate_only(true);
  request.mutable_spec()->mutable_data()->mutable_train(0)->clear_files();  // not uploaded yet
  const v1::Job job = Create(request);
  EXPECT_EQ(job.spec().train().learning_rate(), 3e-4);
  EXPECT_EQ(job.name(), "");
  EXPECT_THAT(List({})->jobs(), SizeIs(0));
}

TEST_F(JobServiceTest, ErrorsNameTheFieldAndTheReason) {
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->mutable_train()->set_learning_rate(-1);
  Status status = FromGrpc(TryCreate(request));
  EXPECT_THAT(status, StatusIs(StatusCode::kInvalidArgument, HasSubstr("train.learning_rate")));
  EXPECT_EQ(FieldOf(status), "train.learning_rate");

  request = Request();
  request.mutable_spec()->set_kind("rlhf");
  status = FromGrpc(TryCreate(request));
  EXPECT_THAT(status, StatusIs(StatusCode::kUnimplemented, HasSubstr("rlhf")));
  EXPECT_EQ(ReasonOf(status), "KIND_NOT_BUILT");

  request = Request();
  request.clear_spec();
  EXPECT_EQ(FieldOf(FromGrpc(TryCreate(request))), "spec");

  request = Request();
  request.set_parent("projects/other");
  status = FromGrpc(TryCreate(request));
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "PROJECT_NOT_FOUND");
}

TEST_F(JobServiceTest, DataThatWasNotUploadedIsNamedWithWhatToDo) {
  v1::CreateJobRequest request = Request();
  v1::BlobRef* file = request.mutable_spec()->mutable_data()->mutable_train(0)->add_files();
  file->set_name("macbeth.txt");
  file->set_sha256(std::string(64, 'a'));
  file->set_size_bytes(3);
  const Status status = FromGrpc(TryCreate(request));
  EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition,
                               AllOf(HasSubstr("macbeth.txt"), HasSubstr("upload"))));
  EXPECT_EQ(ReasonOf(status), "MISSING_BLOBS");
  EXPECT_THAT(List({})->jobs(), SizeIs(0));
}

TEST_F(JobServiceTest, AJobIsFoundByIdPathPrefixAndName) {
  const v1::Job job = Create(Request());
  for (const std::string& name :
       {job.job_id(), job.name(), job.display_name(), job.job_id().substr(0, 13)})
    EXPECT_EQ(Get(name)->job_id(), job.job_id()) << name;
  const auto missing = Get("hamlet");
  EXPECT_THAT(missing, StatusIs(StatusCode::kNotFound, HasSubstr("hamlet")));
  EXPECT_EQ(ReasonOf(missing.status()), "JOB_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get("projects/p/jobs/j").status()), "PROJECT_NOT_FOUND");
  EXPECT_EQ(ReasonOf(Get("no/such/form").status()), "BAD_NAME");
}

TEST_F(JobServiceTest, ListsPageFilterAndOrder) {
  std::vector<std::string> ids;
  for (const char* name : {"one", "two", "three"}) ids.push_back(Create(Request(name)).job_id());
  ASSERT_OK(Cancel(ids[1]));
  v1::ListJobsRequest request;
  request.set_page_size(2);
  ASSERT_OK_AND_ASSIGN(const v1::ListJobsResponse first, List(request));
  ASSERT_THAT(first.jobs(), SizeIs(2));
  EXPECT_EQ(first.jobs(0).job_id(), ids[2]);
  EXPECT_FALSE(first.jobs(0).has_spec());
  request.set_page_token(first.next_page_token());
  ASSERT_OK_AND_ASSIGN(const v1::ListJobsResponse second, List(request));
  ASSERT_THAT(second.jobs(), SizeIs(1));
  EXPECT_EQ(second.jobs(0).job_id(), ids[0]);
  EXPECT_EQ(second.next_page_token(), "");

  request = {};
  request.set_order_by("create_time");
  EXPECT_EQ(List(request)->jobs(0).job_id(), ids[0]);
  request = {};
  request.set_filter("state=CANCELLED");
  ASSERT_THAT(List(request)->jobs(), SizeIs(1));
  request.set_filter("state=CANCELLED AND name=one");
  EXPECT_THAT(List(request)->jobs(), SizeIs(0));
  for (const char* bad : {"state=SLEEPING", "owner=me", "name=", "x", "state=QUEUED OR name=a"}) {
    request.set_filter(bad);
    EXPECT_EQ(ReasonOf(List(request).status()), "BAD_FILTER") << bad;
  }
  request = {};
  request.set_order_by("loss");
  EXPECT_EQ(FieldOf(List(request).status()), "order_by");
  request = {};
  request.set_page_size(-1);
  EXPECT_EQ(FieldOf(List(request).status()), "page_size");
}

TEST_F(JobServiceTest, CancelHeedsTheEtagAndIsFinal) {
  const v1::Job job = Create(Request());
  const auto stale = Cancel(job.name(), "9999");
  EXPECT_EQ(stale.status().code(), StatusCode::kAborted);
  ASSERT_OK(Cancel(job.name()));
  EXPECT_EQ(WaitForState(job.name(), v1::CANCELLED).job_id(), job.job_id());
  const auto context = AsAdmin();
  v1::RetryJobRequest retry;
  retry.set_name(job.name());
  v1::Job ignored;
  EXPECT_EQ(jobs_->RetryJob(context.get(), retry, &ignored).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(JobServiceTest, EventsComeInOrderAndSayWhoActed) {
  const v1::Job job = Create(Request());
  Create(Request("other"));
  ASSERT_OK(Cancel(job.name()));
  WaitForState(job.name(), v1::CANCELLED);
  v1::ListEventsRequest request;
  request.set_name(job.name());
  request.set_page_size(1);
  std::vector<v1::Event> events;
  do {
    const auto context = AsAdmin();
    v1::ListEventsResponse response;
    ASSERT_OK(FromGrpc(jobs_->ListEvents(context.get(), request, &response)));
    for (const v1::Event& event : response.events()) events.push_back(event);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events[0].actor(), "client:client-1");
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].job_id(), job.job_id());
    if (i > 0) {
      EXPECT_GT(events[i].sequence(), events[i - 1].sequence());
    }
  }
  request.set_page_token("12x");
  const auto context = AsAdmin();
  v1::ListEventsResponse response;
  EXPECT_EQ(FieldOf(FromGrpc(jobs_->ListEvents(context.get(), request, &response))), "page_token");
}

TEST_F(JobServiceTest, ExplainSaysWhyItWaitsAndWhatTrainersSaid) {
  const v1::Job job = Create(Request());
  ASSERT_OK(history_->AppendNote(JobId{job.job_id()},
                                 {.attempt = 1, .type = "note", .message = "the disk is slow"}));
  v1::ExplainJobRequest request;
  request.set_name(job.name());
  const auto context = AsAdmin();
  v1::ExplainJobResponse response;
  ASSERT_OK(FromGrpc(jobs_->ExplainJob(context.get(), request, &response)));
  EXPECT_NE(response.sentence(), "");
  EXPECT_THAT(response.evidence(), testing::Contains(HasSubstr("the disk is slow")));
}

TEST_F(JobServiceTest, AnOversizedRequestIsRefusedAndTheNextOneIsNot) {
  v1::CreateJobRequest request = Request();
  request.mutable_spec()->set_name(std::string(5 << 20, 'x'));
  EXPECT_EQ(TryCreate(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_OK(FromGrpc(TryCreate(Request())));
}

TEST_F(JobServiceTest, AJobThatNoHostHoldsIsRefusedWithWhatWouldFit) {
  v1::CreateJobRequest request = Request();
  request.set_request_id("before-there-were-workers");
  const std::string accepted = Create(request).job_id();
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  worker.report.set_memory_bytes(int64_t{40} << 20);
  ASSERT_TRUE(worker.Report());

  EXPECT_EQ(Create(request).job_id(), accepted);  // a repeat has the first answer
  request.set_request_id("after");
  for (const bool validate_only : {true, false}) {
    request.set_validate_only(validate_only);
    const Status status = FromGrpc(TryCreate(request));
    EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition, HasSubstr("may have 40.0 MiB")));
    EXPECT_EQ(ReasonOf(status), "JOB_DOES_NOT_FIT");
  }
  worker.report.set_memory_bytes(int64_t{1} << 30);
  ASSERT_TRUE(worker.Report());
  EXPECT_NE(Create(request).job_id(), accepted);
}

TEST_F(JobServiceTest, WorkersAreListedWithTheirSlots) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(worker.Report());
  const auto context = AsAdmin();
  v1::ListWorkersResponse response;
  ASSERT_OK(FromGrpc(jobs_->ListWorkers(context.get(), {}, &response)));
  ASSERT_THAT(response.workers(), SizeIs(1));
  EXPECT_EQ(response.workers(0).name(), "workers/worker-0");
  EXPECT_EQ(response.workers(0).slots_size(), 1);
}

TEST_F(JobServiceTest, CallsAreCountedUnderTheEcosystemsNames) {
  Create(Request());
  EXPECT_FALSE(Get("nobody").ok());
  const std::string page = metrics_->Exposition();
  EXPECT_THAT(page,
              HasSubstr("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"CreateJob\""));
  EXPECT_THAT(page,
              HasSubstr("grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"GetJob\""));
}

TEST(AnswerMemory, KeepsTheFirstAnswerAndIsBounded) {
  AnswerMemory memory;
  v1::Job job, found;
  job.set_job_id("first");
  memory.Remember("key", job);
  job.set_job_id("second");
  memory.Remember("key", job);
  ASSERT_TRUE(memory.Find("key", &found));
  EXPECT_EQ(found.job_id(), "first");
  for (int i = 0; i < 10'000; ++i) memory.Remember(std::to_string(i), job);
  EXPECT_FALSE(memory.Find("key", &found));
  EXPECT_TRUE(memory.Find("9999", &found));
}

}  // namespace
}  // namespace trainyard::coordinator

#include "coordinator/service/worker_service.h"

#include <gmock/gmock.h>

#include "tests/coordinator/service/fixture.h"

namespace trainyard::coordinator {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class WorkerServiceTest : public ServiceTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::TelemetryRequest, v1::TelemetryResponse>;

  v1::TelemetryRequest Chunk(const std::string& job, int64_t sequence, int64_t offset,
                             const std::string& data) {
    v1::TelemetryRequest request;
    request.set_worker_id("worker-0");
    request.set_sequence(sequence);
    v1::LogChunk* log = request.mutable_log();
    log->set_job_id(job);
    log->set_attempt(1);
    log->set_offset(offset);
    log->set_data(data);
    return request;
  }
  v1::TelemetryRequest Points(const std::string& job, int64_t sequence, int64_t step) {
    v1::TelemetryRequest request;
    request.set_worker_id("worker-0");
    request.set_sequence(sequence);
    v1::PointBatch* points = request.mutable_points();
    points->set_job_id(job);
    points->set_attempt(1);
    for (const char* name : {"loss", "step_phase_seconds/update"}) {
      v1::MetricSample* sample = points->add_samples();
      sample->set_step(step);
      sample->set_name(name);
      sample->set_value(2.5);
      sample->set_wall_time(1.7e9);
    }
    return request;
  }
  // Sends everything, ends the stream; gives the newest acknowledgement and all positions.
  Status Send(const std::vector<v1::TelemetryRequest>& requests, int64_t* acknowledged,
              std::vector<v1::LogPosition>* positions = nullptr) {
    const auto context = AsWorker();
    const auto stream = workers_->Telemetry(context.get());
    for (const auto& request : requests)
      if (!stream->Write(request)) break;
    stream->WritesDone();
    v1::TelemetryResponse response;
    while (stream->Read(&response)) {
      EXPECT_GE(response.acknowledged(), *acknowledged);
      *acknowledged = response.acknowledged();
      if (positions != nullptr)
        positions->insert(positions->end(), response.positions().begin(),
                          response.positions().end());
    }
    return FromGrpc(stream->Finish());
  }
  // A job whose one rank runs on worker-0.
  std::string RunningJob(FakeWorker& worker) {
    EXPECT_TRUE(worker.Report());
    const v1::Job job = Create(Request());
    worker.WaitForRanks(1);
    return job.job_id();
  }
  std::string LogOf(const std::string& job) {
    return *history_->logs().Read({JobId{job}, 1, 0}, 0, 1 << 20);
  }
};

TEST_F(WorkerServiceTest, AReportIsAnsweredWithWhatTheWorkerShouldHave) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(worker.Report());
  EXPECT_THAT(worker.desired.ranks(), SizeIs(0));
  EXPECT_NE(worker.desired.coordinator_epoch(), "");
  const v1::Job job = Create(Request());
  worker.WaitForRanks(1);
  const v1::DesiredRank& rank = worker.desired.ranks(0);
  EXPECT_EQ(rank.job_id(), job.job_id());
  EXPECT_EQ(rank.attempt(), 1);
  EXPECT_THAT(rank.spec_json(), HasSubstr("llama"));
  EXPECT_NE(rank.attempt_secret(), "");
  EXPECT_OK(worker.Finish());
}

TEST_F(WorkerServiceTest, WhatIsDesiredIsPushedWithoutAReport) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(worker.Report());
  Create(Request());
  while (worker.desired.ranks_size() == 0) ASSERT_TRUE(worker.Receive());
  EXPECT_THAT(worker.desired.ranks(), SizeIs(1));
}

TEST_F(WorkerServiceTest, TheNewestSessionOfAWorkerWins) {
  FakeWorker old(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(old.Report());
  FakeWorker other(*workers_, AsWorker(), "worker-1");
  ASSERT_TRUE(other.Report());
  FakeWorker young(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(young.Report());
  while (old.Receive()) continue;
  const Status status = old.Finish();
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(status), "SESSION_REPLACED");
  EXPECT_TRUE(young.Report());
  EXPECT_TRUE(other.Report());
}

TEST_F(WorkerServiceTest, AReportThatIsNoneEndsTheSessionAndNothingElse) {
  FakeWorker good(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(good.Report());
  FakeWorker bad(*workers_, AsWorker(), "worker-1");
  bad.report.set_worker_id("../evil");
  EXPECT_FALSE(bad.Report());
  EXPECT_EQ(bad.Finish().code(), StatusCode::kInvalidArgument);
  FakeWorker liar(*workers_, AsWorker(), "worker-2");
  ASSERT_TRUE(liar.Report());
  liar.report.set_worker_id("worker-0");
  EXPECT_FALSE(liar.Report());
  EXPECT_THAT(liar.Finish(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("worker-2")));
  EXPECT_TRUE(good.Report());
}

TEST_F(WorkerServiceTest, TelemetryIsAcknowledgedAndKeptOnceHoweverOftenItIsSent) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  const std::string job = RunningJob(worker);
  int64_t acknowledged = 0;
  ASSERT_OK(Send({Chunk(job, 1, 0, "hello "), Chunk(job, 2, 6, "world\n"), Points(job, 3, 1)},
                 &acknowledged));
  EXPECT_EQ(acknowledged, 3);
  acknowledged = 0;
  ASSERT_OK(
      Send({Chunk(job, 2, 6, "world\n"), Points(job, 3, 1), Points(job, 4, 2)}, &acknowledged));
  EXPECT_EQ(acknowledged, 4);
  EXPECT_EQ(LogOf(job), "hello world\n");
  EXPECT_THAT(history_->points().Read(JobId{job}, 0, 1 << 20)->points, SizeIs(4));
  EXPECT_EQ(coordinator_->LatestMetrics(JobId{job}).at("loss"), 2.5);
  EXPECT_THAT(metrics_->Exposition(),
              HasSubstr("trainyard_step_phase_seconds_count{phase=\"update\"}"));
}

TEST_F(WorkerServiceTest, AGapInALogIsAnsweredWithWhereToGoBackTo) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  const std::string job = RunningJob(worker);
  int64_t acknowledged = 0;
  std::vector<v1::LogPosition> positions;
  ASSERT_OK(Send({Chunk(job, 1, 0, "abc"), Chunk(job, 2, 10, "xyz")}, &acknowledged, &positions));
  EXPECT_EQ(acknowledged, 2);
  ASSERT_THAT(positions, SizeIs(1));
  EXPECT_EQ(positions[0].job_id(), job);
  EXPECT_EQ(positions[0].offset(), 3);
  EXPECT_EQ(LogOf(job), "abc");
}

TEST_F(WorkerServiceTest, NobodySpeaksForARankThatIsNotTheirs) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  const std::string job = RunningJob(worker);
  std::vector<v1::TelemetryRequest> requests;
  requests.push_back(Chunk(job, 1, 0, "forged"));
  requests.back().set_worker_id("worker-1");
  requests.push_back(Chunk(job, 2, 0, "x"));
  requests.back().mutable_log()->set_attempt(7);
  requests.push_back(Chunk("nobody", 3, 0, "x"));
  requests.push_back(Chunk("../../evil", 4, 0, "x"));
  requests.push_back(Chunk("shakespeare", 5, 0, "x"));  // a name is no id
  int64_t acknowledged = 0;
  ASSERT_OK(Send(requests, &acknowledged));
  EXPECT_EQ(acknowledged, 5) << "acknowledged, so that they are not sent for ever";
  EXPECT_EQ(LogOf(job), "");
  EXPECT_THAT(*history_->logs().List(JobId{job}), SizeIs(0));
}

TEST_F(WorkerServiceTest, TelemetryThatBreaksTheRulesEndsItsStream) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  const std::string job = RunningJob(worker);
  int64_t acknowledged = 0;
  EXPECT_EQ(FieldOf(Send({Chunk(job, 2, 0, "a"), Chunk(job, 2, 1, "b")}, &acknowledged)),
            "sequence");
  auto nameless = Chunk(job, 1, 0, "a");
  nameless.clear_worker_id();
  EXPECT_EQ(FieldOf(Send({nameless}, &acknowledged)), "worker_id");
  auto timeless = Points(job, 1, 1);
  timeless.mutable_points()->mutable_samples(0)->set_wall_time(std::nan(""));
  EXPECT_EQ(FieldOf(Send({timeless}, &acknowledged)), "points.samples");
  EXPECT_EQ(Send({Chunk(job, 1, 0, std::string(5 << 20, 'x'))}, &acknowledged).code(),
            StatusCode::kResourceExhausted);
  EXPECT_TRUE(worker.Report()) << "the session is another stream";
}

TEST_F(WorkerServiceTest, ADrainEndsStreamsWithUnavailable) {
  FakeWorker worker(*workers_, AsWorker(), "worker-0");
  ASSERT_TRUE(worker.Report());
  server_->Drain(absl::Seconds(5));
  while (worker.Receive()) continue;
  const Status status = worker.Finish();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), "DRAINING");
}

}  // namespace
}  // namespace trainyard::coordinator

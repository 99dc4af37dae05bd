// A coordinator for the agent's tests: wants what the test says, keeps what workers report and
// ship.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "trainyard/v1/worker_service.grpc.pb.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {

class FakeCoordinator final : public v1::WorkerService::Service {
 public:
  // `port` 0: any free one.
  explicit FakeCoordinator(int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeCoordinator() override { Stop(); }

  // The state survives: what is stored is on its "disk".
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  void Restart() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address(), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void SetDesired(v1::DesiredState desired) {
    absl::MutexLock lock(&mu_);
    desired_ = std::move(desired);
    ++revision_;
  }
  void SetToken(const std::string& token) {
    absl::MutexLock lock(&mu_);
    token_ = token;
  }

  // Waits until the newest report is as `wanted` says; false after 10 s.
  bool AwaitReport(const std::function<bool(const v1::WorkerReport&)>& wanted) {
    absl::MutexLock lock(&mu_);
    const auto is_there = [&] { return reports_ > 0 && wanted(report_); };
    return mu_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(10));
  }
  bool AwaitReports(int64_t n) {
    absl::MutexLock lock(&mu_);
    const auto is_there = [&] { return reports_ >= n; };
    return mu_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(10));
  }
  bool AwaitLog(const RankKey& key, const std::function<bool(const std::string&)>& wanted) {
    absl::MutexLock lock(&mu_);
    const auto is_there = [&] { return wanted(logs_[key]); };
    return mu_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(10));
  }
  bool AwaitPoints(const RankKey& key, size_t n) {
    absl::MutexLock lock(&mu_);
    const auto is_there = [&] { return points_[key].size() >= n; };
    return mu_.AwaitWithTimeout(absl::Condition(&is_there), absl::Seconds(10));
  }
  // What is awaited from now on must be reported anew.
  void ForgetReports() {
    absl::MutexLock lock(&mu_);
    report_.Clear();
    reports_ = 0;
  }
  v1::WorkerReport report() const {
    absl::MutexLock lock(&mu_);
    return report_;
  }
  int64_t reports() const {
    absl::MutexLock lock(&mu_);
    return reports_;
  }
  std::string log(const RankKey& key) const {
    absl::MutexLock lock(&mu_);
    return logs_.contains(key) ? logs_.at(key) : "";
  }
  // Steps for which a point has come.
  std::set<int64_t> points(const RankKey& key) const {
    absl::MutexLock lock(&mu_);
    return points_.contains(key) ? points_.at(key) : std::set<int64_t>();
  }

 private:
  grpc::Status CheckToken(const grpc::ServerContext& context) const {
    absl::MutexLock lock(&mu_);
    const auto sent = context.client_metadata().find("authorization");
    if (token_.empty() ||
        (sent != context.client_metadata().end() && sent->second == "Bearer " + token_))
      return grpc::Status::OK;
    return {grpc::StatusCode::UNAUTHENTICATED, "wrong token"};
  }

  grpc::Status Session(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::DesiredState, v1::WorkerReport>* stream) override {
    if (const grpc::Status status = CheckToken(*context); !status.ok()) return status;
    // Answers every report, and pushes what the test changes in between.
    absl::Mutex write_mu;
    int64_t sent_revision = 0;  // under mu_
    const auto answer = [&](int64_t report_number) {
      v1::DesiredState desired;
      {
        absl::MutexLock lock(&mu_);
        desired = desired_;
        sent_revision = revision_;
      }
      absl::MutexLock lock(&write_mu);
      desired.set_report_number(report_number);
      stream->Write(desired);
    };
    bool over = false;
    std::thread pusher([&] {
      while (true) {
        {
          absl::MutexLock lock(&mu_);
          const auto news = [&] { return over || revision_ > sent_revision; };
          mu_.AwaitWithTimeout(absl::Condition(&news), absl::Milliseconds(200));
          if (over) return;
          if (revision_ <= sent_revision) continue;
        }
        answer(0);
      }
    });
    v1::WorkerReport report;
    while (stream->Read(&report)) {
      {
        absl::MutexLock lock(&mu_);
        report_ = report;
        ++reports_;
      }
      answer(report.report_number());
    }
    {
      absl::MutexLock lock(&mu_);
      over = true;
    }
    pusher.join();
    return grpc::Status::OK;
  }

  grpc::Status Telemetry(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::TelemetryResponse, v1::TelemetryRequest>* stream) override {
    if (const grpc::Status status = CheckToken(*context); !status.ok()) return status;
    v1::TelemetryRequest request;
    while (stream->Read(&request)) {
      v1::TelemetryResponse response;
      {
        absl::MutexLock lock(&mu_);
        Store(request, response);
      }
      response.set_acknowledged(request.sequence());
      if (!stream->Write(response)) break;
    }
    return grpc::Status::OK;
  }

  void Store(const v1::TelemetryRequest& request, v1::TelemetryResponse& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (request.has_points()) {
      const v1::PointBatch& batch = request.points();
      auto& steps = points_[{JobId{batch.job_id()}, batch.attempt(), batch.rank()}];
      for (const v1::MetricSample& sample : batch.samples()) steps.insert(sample.step());
    }
    if (!request.has_log()) return;
    const v1::LogChunk& chunk = request.log();
    std::string& log = logs_[{JobId{chunk.job_id()}, chunk.attempt(), chunk.rank()}];
    const auto size = static_cast<int64_t>(log.size());
    if (chunk.offset() > size) {
      v1::LogPosition& position = *response.add_positions();
      position.set_job_id(chunk.job_id());
      position.set_attempt(chunk.attempt());
      position.set_rank(chunk.rank());
      position.set_offset(size);
    } else if (const auto have = static_cast<size_t>(size - chunk.offset());
               have < chunk.data().size()) {
      log += chunk.data().substr(have);
    }
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable absl::Mutex mu_;
  std::string token_ ABSL_GUARDED_BY(mu_);
  v1::DesiredState desired_ ABSL_GUARDED_BY(mu_);
  int64_t revision_ ABSL_GUARDED_BY(mu_) = 1;
  v1::WorkerReport report_ ABSL_GUARDED_BY(mu_);
  int64_t reports_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<RankKey, std::string> logs_ ABSL_GUARDED_BY(mu_);
  std::map<RankKey, std::set<int64_t>> points_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::worker

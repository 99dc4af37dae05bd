// The worker's two streams. Session: what it has, what it should have. Telemetry: logs, points and
// notes into the history, acknowledged once durable.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <prometheus/histogram.h>

#include <map>
#include <memory>
#include <string>

#include "coordinator/service/runtime.h"
#include "trainyard/v1/worker_service.grpc.pb.h"

namespace trainyard::coordinator {

class Session;

// The live session of each worker: the newest wins. Thread-safe.
class SessionTable {
 public:
  // Ends the session that `worker` had.
  void Enter(const WorkerId& worker, const std::shared_ptr<Session>& session);
  // Only if it is still that worker's.
  void Leave(const WorkerId& worker, const Session* session);
  // What this worker should have has changed.
  void Push(const WorkerId& worker);

 private:
  mutable absl::Mutex mu_;
  std::map<WorkerId, std::weak_ptr<Session>> sessions_ ABSL_GUARDED_BY(mu_);
};

class WorkerServiceImpl final : public v1::WorkerService::CallbackService {
 public:
  explicit WorkerServiceImpl(ServiceRuntime& runtime);

  using Call = grpc::CallbackServerContext;
  grpc::ServerBidiReactor<v1::WorkerReport, v1::DesiredState>* Session(Call* call) override;
  grpc::ServerBidiReactor<v1::TelemetryRequest, v1::TelemetryResponse>* Telemetry(
      Call* call) override;

  SessionTable& sessions() { return sessions_; }

 private:
  ServiceRuntime& runtime_;
  SessionTable sessions_;
  prometheus::Family<prometheus::Histogram>& phase_seconds_;
};

}  // namespace trainyard::coordinator

#include "coordinator/service/worker_service.h"

#include "coordinator/service/session.h"
#include "coordinator/service/telemetry.h"

namespace trainyard::coordinator {
namespace {

constexpr char kSession[] = "/trainyard.v1.WorkerService/Session";
constexpr char kTelemetry[] = "/trainyard.v1.WorkerService/Telemetry";

}  // namespace

void SessionTable::Enter(const WorkerId& worker,
                         const std::shared_ptr<coordinator::Session>& session) {
  std::shared_ptr<coordinator::Session> older;
  {
    absl::MutexLock lock(&mu_);
    std::weak_ptr<coordinator::Session>& entry = sessions_[worker];
    older = entry.lock();
    entry = session;
  }
  if (older != nullptr && older != session)
    older->EndWith(WithReason(Aborted("a newer session of worker {} has taken over", worker.value),
                              "SESSION_REPLACED"));
}

void SessionTable::Leave(const WorkerId& worker, const coordinator::Session* session) {
  absl::MutexLock lock(&mu_);
  const auto found = sessions_.find(worker);
  if (found == sessions_.end()) return;
  const auto current = found->second.lock();
  if (current == nullptr || current.get() == session) sessions_.erase(found);
}

void SessionTable::Push(const WorkerId& worker) {
  std::shared_ptr<coordinator::Session> session;
  {
    absl::MutexLock lock(&mu_);
    const auto found = sessions_.find(worker);
    if (found != sessions_.end()) session = found->second.lock();
  }
  if (session != nullptr) session->DesiredHasChanged();
}

WorkerServiceImpl::WorkerServiceImpl(ServiceRuntime& runtime)
    : runtime_(runtime),
      phase_seconds_(prometheus::BuildHistogram()
                         .Name("trainyard_step_phase_seconds")
                         .Help("Where the time of training steps goes, over all jobs.")
                         .Register(runtime.context().metrics.prometheus())) {}

grpc::ServerBidiReactor<v1::WorkerReport, v1::DesiredState>* WorkerServiceImpl::Session(
    Call* call) {
  CallRecord record(runtime_, kSession);
  if (const auto principal = runtime_.Admit(*call, kSession); !principal.ok())
    return new RefusedStream<grpc::ServerBidiReactor<v1::WorkerReport, v1::DesiredState>>(
        record, principal.status());
  auto session = std::make_shared<coordinator::Session>(runtime_, record, sessions_);
  session->Begin(JobId());
  return session.get();
}

grpc::ServerBidiReactor<v1::TelemetryRequest, v1::TelemetryResponse>* WorkerServiceImpl::Telemetry(
    Call* call) {
  CallRecord record(runtime_, kTelemetry);
  if (const auto principal = runtime_.Admit(*call, kTelemetry); !principal.ok())
    return new RefusedStream<grpc::ServerBidiReactor<v1::TelemetryRequest, v1::TelemetryResponse>>(
        record, principal.status());
  auto stream = std::make_shared<TelemetryStream>(runtime_, record, phase_seconds_);
  stream->Begin(JobId());
  return stream.get();
}

}  // namespace trainyard::coordinator

#include "coordinator/service/runtime.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace trainyard::coordinator {
namespace {

constexpr int kPoolThreads = 4;
constexpr size_t kPoolQueue = 2'000;
constexpr int kLongThreads = 2;
constexpr size_t kLongQueue = 50;
constexpr int kStepThreads = 4;
// Streams look again this often: steps of a job are thinned to 4 a second by it.
constexpr absl::Duration kWakePeriod = absl::Milliseconds(250);
constexpr int kLoggedPerSecond = 20;

}  // namespace

Status StreamHub::Add(const std::shared_ptr<Stream>& stream, const JobId& job) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(ended_);
  if (streams_.size() >= kMaxStreams)
    return WithReason(ResourceExhausted("{} streams are open already: close some", kMaxStreams),
                      "TOO_MANY_STREAMS");
  streams_[stream.get()] = {stream, job};
  if (!job.empty()) by_job_[job].insert(stream.get());
  return OkStatus();
}

void StreamHub::Remove(Stream* stream) {
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  if (const auto of_job = by_job_.find(found->second.job); of_job != by_job_.end()) {
    of_job->second.erase(stream);
    if (of_job->second.empty()) by_job_.erase(of_job);
  }
  streams_.erase(found);
}

void StreamHub::Wake(const std::vector<std::shared_ptr<Stream>>& streams) {
  for (const auto& stream : streams)
    if (stream != nullptr) stepper_.Wake(stream);
}

void StreamHub::WakeJob(const JobId& job) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    absl::MutexLock lock(&mu_);
    const auto found = by_job_.find(job);
    if (found == by_job_.end()) return;
    for (Stream* stream : found->second) streams.push_back(streams_[stream].stream.lock());
  }
  Wake(streams);
}

void StreamHub::WakeAll() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [unused, entry] : streams_) streams.push_back(entry.stream.lock());
  }
  Wake(streams);
}

void StreamHub::EndAll(const Status& status) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    absl::MutexLock lock(&mu_);
    ended_ = status;
    for (const auto& [unused, entry] : streams_) streams.push_back(entry.stream.lock());
  }
  for (const auto& stream : streams)
    if (stream != nullptr) stream->EndWith(status);
}

size_t StreamHub::size() const {
  absl::MutexLock lock(&mu_);
  return streams_.size();
}

ServiceRuntime::ServiceRuntime(const ServiceContext& context)
    : context_(context),
      rpc_(context.metrics.prometheus()),
      denied_(prometheus::BuildCounter()
                  .Name("trainyard_requests_denied_total")
                  .Help("Requests refused for want of a token or a role.")
                  .Register(context.metrics.prometheus())),
      stepper_("stream", kStepThreads),
      hub_(stepper_),
      pool_("service", kPoolThreads, kPoolQueue),
      long_pool_("service-long", kLongThreads, kLongQueue),
      ticker_("stream-ticker", [this] {
        while (!stop_.WaitFor(kWakePeriod)) hub_.WakeAll();
      }) {
  for (const MethodAccess& entry : AccessTable()) rpc_.AddMethod(entry.method, entry.type);
}

ServiceRuntime::~ServiceRuntime() { stop_.Stop(); }

Status ServiceRuntime::Deny(const Status& why, std::string_view peer, std::string_view method) {
  denied_.Add({{"reason", ReasonOf(why)}}).Increment();
  absl::MutexLock lock(&mu_);
  const absl::Duration now = context_.clock.Elapsed();
  if (now - log_window_ >= absl::Seconds(1)) {
    log_window_ = now;
    logged_ = 0;
  }
  if (logged_ >= kLoggedPerSecond) {
    ++not_logged_;
    return why;
  }
  ++logged_;
  const int64_t before = std::exchange(not_logged_, 0);
  spdlog::warn("denied {} to {}: {} ({}){}", method, peer, ReasonOf(why), MessageOf(why),
               before > 0 ? fmt::format("; {} more were not logged", before) : "");
  return why;
}

StatusOr<Principal> ServiceRuntime::Admit(const grpc::CallbackServerContext& call,
                                          std::string_view method) {
  const MethodAccess* entry = FindAccess(method);
  if (entry == nullptr)
    return Deny(PermissionDenied("{} is open to nobody", method), call.peer(), method);
  const auto header = call.client_metadata().find("authorization");
  std::string_view token;
  if (header != call.client_metadata().end())
    token = BearerToken({header->second.data(), header->second.size()});
  StatusOr<Principal> principal = context_.tokens.Authenticate(token);
  if (!principal.ok()) return Deny(principal.status(), call.peer(), method);
  if (const Status status = CheckAccess(*principal, entry->access, method); !status.ok())
    return Deny(status, call.peer(), method);
  return principal;
}

void ServiceRuntime::StreamBorn() {
  absl::MutexLock lock(&mu_);
  ++streams_;
}

void ServiceRuntime::StreamGone() {
  absl::MutexLock lock(&mu_);
  --streams_;
}

bool ServiceRuntime::WaitForStreams(absl::Duration timeout) {
  const auto none = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return streams_ == 0; };
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&none), timeout);
}

CallRecord::CallRecord(ServiceRuntime& runtime, std::string_view method)
    : clock_(runtime.context().clock), method_(runtime.rpc().Of(method)), begin_(clock_.Elapsed()) {
  method_.Started();
}

void CallRecord::Answered(StatusCode code) {
  method_.Handled(static_cast<int>(code), clock_.Elapsed() - begin_);
}

}  // namespace trainyard::coordinator

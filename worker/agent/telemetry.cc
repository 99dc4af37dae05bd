#include "worker/agent/telemetry.h"

#include <spdlog/spdlog.h>

#include "common/wire/channel.h"

namespace trainyard::worker {
namespace {

// Between two looks at the log files. Shorter shows lines sooner; costs a system call per rank
// each.
constexpr absl::Duration kLogPeriod = absl::Milliseconds(100);
constexpr absl::Duration kSilentAfter = absl::Seconds(20);

}  // namespace

Telemetry::Telemetry(std::shared_ptr<grpc::Channel> channel, std::function<std::string()> token,
                     const std::string& worker_id, const TelemetryBounds& bounds,
                     const Clock& clock, std::function<void()> progress)
    : token_(std::move(token)),
      progress_(std::move(progress)),
      stub_(v1::WorkerService::NewStub(channel)),
      queue_(worker_id, bounds),
      stream_("telemetry",
              {.dial =
                   [this](grpc::ClientContext* context) {
                     PrepareCall(context, token_(), absl::InfiniteDuration());
                     return stub_->Telemetry(context);
                   },
               .began =
                   [this] {
                     absl::MutexLock lock(&mu_);
                     queue_.StreamBegan();
                   },
               .next =
                   [this] {
                     absl::MutexLock lock(&mu_);
                     return queue_.Next();
                   },
               .receive =
                   [this](const v1::TelemetryResponse& response) {
                     {
                       absl::MutexLock lock(&mu_);
                       queue_.OnResponse(response);
                     }
                     progress_();
                   },
               .ended =
                   [this](const Status& status) {  // the session says that the coordinator is away
                     absl::MutexLock lock(&mu_);
                     queue_.StreamEnded(status);
                   }},
              kSilentAfter, clock),
      log_reader_("log-reader", [this] { FollowLogs(); }) {}

Telemetry::~Telemetry() {
  stop_.Stop();
  log_reader_.Join();
}

void Telemetry::FollowLogs() {
  std::string complaint;
  do {
    Status status;
    {
      absl::MutexLock lock(&mu_);
      status = queue_.ReadLogs().status();
    }
    if (!status.ok() && complaint != MessageOf(status)) {
      complaint = MessageOf(status);
      spdlog::error("cannot follow a log: {}", complaint);
    }
    stream_.Wake();
  } while (!stop_.WaitFor(kLogPeriod));
}

void Telemetry::Add(const RankKey& key, const std::filesystem::path& log,
                    const LogPlace& acknowledged) {
  absl::MutexLock lock(&mu_);
  queue_.Add(key, log, acknowledged);
}

void Telemetry::Remove(const RankKey& key) {
  absl::MutexLock lock(&mu_);
  queue_.Remove(key);
}

bool Telemetry::Offer(const RankKey& key, v1::TelemetryRequest item, int64_t link_sequence) {
  bool taken;
  {
    absl::MutexLock lock(&mu_);
    taken = queue_.Offer(key, std::move(item), link_sequence);
  }
  if (taken) stream_.Wake();
  return taken;
}

std::optional<TelemetryQueue::Progress> Telemetry::ProgressOf(const RankKey& key) {
  absl::MutexLock lock(&mu_);
  return queue_.ProgressOf(key);
}

Status Telemetry::Release(const RankKey& key, const LogPlace& place) {
  absl::MutexLock lock(&mu_);
  return queue_.Release(key, place);
}

int64_t Telemetry::dropped_log_bytes() const {
  absl::MutexLock lock(&mu_);
  return queue_.dropped_log_bytes();
}

int64_t Telemetry::acknowledged_items() const {
  absl::MutexLock lock(&mu_);
  return queue_.acknowledged_items();
}

}  // namespace trainyard::worker

#include "worker/agent/session.h"

#include <spdlog/spdlog.h>

#include "common/files.h"
#include "common/wire/channel.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kProbeBytesMax = 1 << 20;
constexpr absl::Duration kSilentAfter = absl::Seconds(10);

}  // namespace

Session::Session(std::shared_ptr<grpc::Channel> channel, std::function<std::string()> token,
                 BlobStore& blobs, const Clock& clock, Events events)
    : token_(std::move(token)),
      blobs_(blobs),
      events_(std::move(events)),
      stub_(v1::WorkerService::NewStub(channel)),
      stream_("session",
              {.dial =
                   [this](grpc::ClientContext* context) {
                     PrepareCall(context, token_(), absl::InfiniteDuration());
                     return stub_->Session(context);
                   },
               .began =
                   [this] {
                     absl::MutexLock lock(&mu_);
                     unsent_ = newest_.has_value();
                   },
               .next = [this] { return Next(); },
               .receive = [this](const v1::DesiredState& desired) { Receive(desired); },
               .ended =
                   [this](const Status& status) {
                     {
                       absl::MutexLock lock(&mu_);
                       connected_ = false;
                     }
                     events_.lost(status);
                   }},
              kSilentAfter, clock) {}

void Session::Send(v1::WorkerReport report) {
  {
    absl::MutexLock lock(&mu_);
    newest_ = std::move(report);
    unsent_ = true;
  }
  stream_.Wake();
}

bool Session::connected() const {
  absl::MutexLock lock(&mu_);
  return connected_;
}

std::optional<v1::WorkerReport> Session::Next() {
  absl::MutexLock lock(&mu_);
  if (!std::exchange(unsent_, false)) return std::nullopt;
  newest_->set_report_number(++report_number_);
  return newest_;
}

void Session::Receive(const v1::DesiredState& desired) {
  {
    absl::MutexLock lock(&mu_);
    connected_ = true;
  }
  if (desired.refused().empty()) CheckProbe(desired.blob_probe_key());
  events_.desired(desired, probe_digest_);
}

void Session::CheckProbe(const std::string& key) {
  if (key == probe_key_ && (key.empty() || !probe_digest_.empty())) return;
  probe_key_ = key;
  probe_digest_.clear();
  if (key.empty()) return;
  const StatusOr<std::string> bytes = blobs_.ReadAll(key, kProbeBytesMax);
  if (bytes.ok()) {
    probe_digest_ = Sha256(*bytes);
    probe_complaint_.clear();
    return;
  }
  // It is asked again with every answer; say it once.
  const std::string complaint = MessageOf(bytes.status());
  if (complaint != probe_complaint_)
    spdlog::error(
        "cannot read the BlobStore's probe object: {}. Is --blobs the folder that the "
        "coordinator uses?",
        complaint);
  probe_complaint_ = complaint;
}

}  // namespace trainyard::worker

#include "worker/loop/alone_rank.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "worker/loop/outcome.h"

namespace trainyard::worker {

using link::StopMode;

AloneRank::AloneRank(AloneOptions options) : options_(std::move(options)) {
  directive_.attempt = options_.attempt;
  directive_.resume = options_.resume;
  if (options_.resume.has_value()) directive_.recorded_step = options_.resume->step;
  if (options_.metrics_file.empty()) return;
  metrics_.open(options_.metrics_file, std::ios::app);
  if (!metrics_)
    spdlog::warn("metrics are not kept: cannot write {}", options_.metrics_file.string());
}

void AloneRank::RequestStop(StopMode stop) {
  absl::MutexLock lock(&mu_);
  directive_.stop = std::max(directive_.stop, stop);
}

link::Directive AloneRank::directive() const {
  absl::MutexLock lock(&mu_);
  return directive_;
}

StopMode AloneRank::stop() const {
  absl::MutexLock lock(&mu_);
  return directive_.stop;
}

StatusOr<link::Directive> AloneRank::WaitUntil(
    std::string_view what, const std::function<bool(const link::Directive&)>& ready) {
  const auto done = [&] {
    return directive_.stop == StopMode::kNow || !recorded_.ok() || ready(directive_);
  };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&done));
  if (directive_.stop == StopMode::kNow) return StopRequested(what);
  if (!ready(directive_)) return recorded_;
  return directive_;
}

bool AloneRank::Pause(absl::Duration pause) {
  const auto told = [&] { return directive_.stop == StopMode::kNow; };
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&told), pause);
}

void AloneRank::SetPhase(link::Phase phase) { spdlog::debug("phase={}", link::PhaseName(phase)); }

void AloneRank::Doing(const std::string& what) { spdlog::debug("doing={}", what); }

void AloneRank::ReportListenAddress(const std::string& address) {
  absl::MutexLock lock(&mu_);
  directive_.peers = {address};
}

void AloneRank::ReportPrepared(const std::vector<link::PreparedFile>& files,
                               const std::vector<Choice>& choices) {
  absl::MutexLock lock(&mu_);
  directive_.prepared = files;
  directive_.choices = choices;
}

void AloneRank::ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) {
  const Status recorded = options_.record ? options_.record(checkpoint) : OkStatus();
  absl::MutexLock lock(&mu_);
  recorded_ = recorded;
  if (!recorded.ok()) {
    spdlog::error("{} does not count: {}", checkpoint.key, MessageOf(recorded));
    return;
  }
  directive_.recorded_step = checkpoint.step;
}

void AloneRank::ReportCheckpointFailure(const link::CheckpointFailure&) {}  // the event says it

void AloneRank::Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  absl::MutexLock lock(&mu_);
  if (!metrics_.is_open()) return;
  for (const auto& [name, value] : values) {
    const nlohmann::ordered_json point = {
        {"attempt", options_.attempt}, {"step", step}, {"name", name}, {"value", value}};
    metrics_ << point.dump() << '\n';
  }
  metrics_.flush();
  metrics_.clear();  // a full disk loses points, not the job
}

}  // namespace trainyard::worker

#include "coordinator/service/telemetry.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "common/metrics/job_metrics.h"
#include "common/wire/channel.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kMaxKnown = 10'000;
constexpr int kMaxSamples = 20'000;  // of one message
// Phases are labels, so only these are counted.
constexpr std::array<std::string_view, 8> kPhases = {
    "data",       "forward_backward", "reduce",  "update",
    "checkpoint", "evaluation",       "rollout", "reward"};
const prometheus::Histogram::BucketBoundaries kPhaseBuckets = {
    .001, .002, .004, .008, .016, .032, .064, .128, .256, .512,
    1,    2,    4,    8,    16,   32,   64,   128,  256,  600};

template <class Item>
LogKey KeyOf(const Item& item) {
  return {JobId{item.job_id()}, item.attempt(), item.rank()};
}

}  // namespace

bool TelemetryStream::MaySpeakFor(const LogKey& key) {
  const Coordinator& coordinator = runtime_.context().coordinator;
  if (known_.contains(key) && coordinator.Knows(key.job)) return true;
  const auto view = coordinator.Get(key.job.value);
  bool may = false;
  // Get understands names and prefixes too: the id must be this very one.
  if (view.ok() && view->value.job->id == key.job)
    for (const Attempt& attempt : view->value.job->attempts)
      if (attempt.number == key.attempt)
        may = std::any_of(attempt.ranks.begin(), attempt.ranks.end(),
                          [&](const RankPlacement& placement) {
                            return placement.rank == key.rank && placement.slot.worker == worker_;
                          });
  if (!may) {
    spdlog::warn(
        "telemetry of worker {} about job {:?}, attempt {}, rank {} is dropped: that rank "
        "was never placed there, or the job was deleted",
        worker_.value, key.job.value, key.attempt, key.rank);
    return false;
  }
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.insert(key);
  return true;
}

Status TelemetryStream::TakeLog(v1::LogChunk& chunk) {
  const LogKey key = KeyOf(chunk);
  if (!MaySpeakFor(key)) return OkStatus();
  if (chunk.data().size() > kMaxDataBytes)
    return WithField(InvalidArgument("a log chunk has {} bytes: at most {} go into one",
                                     chunk.data().size(), kMaxDataBytes),
                     "log.data");
  ASSIGN_OR_RETURN(const LogAppended appended,
                   runtime_.context().history.logs().Append(key, chunk.offset(), chunk.data(),
                                                            runtime_.context().clock.Now()));
  if (appended.gap) {
    absl::MutexLock lock(&mu_);
    go_back_[key] = appended.end;
  } else {
    runtime_.hub().WakeJob(key.job);
  }
  return OkStatus();
}

void TelemetryStream::ObservePhase(std::string_view phase, double seconds) {
  if (std::find(kPhases.begin(), kPhases.end(), phase) == kPhases.end()) return;
  phase_seconds_.Add({{"phase", std::string(phase)}}, kPhaseBuckets).Observe(seconds);
}

Status TelemetryStream::TakePoints(const v1::PointBatch& batch) {
  const LogKey key = KeyOf(batch);
  if (!MaySpeakFor(key)) return OkStatus();
  if (batch.samples_size() > kMaxSamples)
    return WithField(InvalidArgument("a report has {} points: at most {} go into one",
                                     batch.samples_size(), kMaxSamples),
                     "points.samples");
  std::vector<Point> points;
  std::map<std::string, std::pair<int64_t, double>> newest;
  for (const v1::MetricSample& sample : batch.samples()) {
    if (!std::isfinite(sample.wall_time()) || sample.step() < 0)
      return WithField(InvalidArgument("the point of {:?} at step {} has no usable time or step",
                                       sample.name().substr(0, 100), sample.step()),
                       "points.samples");
    points.push_back(
        {key.attempt, key.rank, sample.step(), sample.name(), sample.value(), sample.wall_time()});
    auto& [step, value] = newest[sample.name()];
    if (sample.step() >= step) std::tie(step, value) = std::pair(sample.step(), sample.value());
    if (sample.name().starts_with(kStepPhasePrefix))
      ObservePhase(std::string_view(sample.name()).substr(kStepPhasePrefix.size()), sample.value());
  }
  const Status stored = runtime_.context().history.points().Append(key.job, std::move(points));
  // A job that has used up its room trains on without curves; asking again would not help.
  if (stored.code() == StatusCode::kResourceExhausted) {
    spdlog::warn("metric points are dropped: {}", MessageOf(stored));
  } else {
    RETURN_IF_ERROR(stored);
  }
  // The first rank speaks for the job.
  Coordinator& coordinator = runtime_.context().coordinator;
  if (key.rank == 0 && coordinator.IsLive(key.job, key.attempt)) {
    int64_t last_step = 0;
    std::vector<std::pair<std::string, double>> values;
    for (const auto& [name, at] : newest) {
      values.emplace_back(name, at.second);
      last_step = std::max(last_step, at.first);
    }
    coordinator.NoteMetrics(key.job, key.attempt, last_step, values);
  }
  runtime_.hub().WakeJob(key.job);
  return OkStatus();
}

Status TelemetryStream::TakeNote(const v1::TrainerEvent& event) {
  const LogKey key = KeyOf(event);
  if (!MaySpeakFor(key)) return OkStatus();
  return runtime_.context().history.AppendNote(
      key.job, {key.attempt, key.rank, event.wall_time(), event.type(), event.message()});
}

Status TelemetryStream::Take(v1::TelemetryRequest& request) {
  if (worker_.empty()) {
    if (request.worker_id().empty())
      return WithField(InvalidArgument("the first message of a stream names its worker"),
                       "worker_id");
    worker_ = WorkerId{request.worker_id()};
  }
  {
    absl::MutexLock lock(&mu_);
    if (request.sequence() <= taken_)
      return WithField(
          InvalidArgument("sequence numbers grow: {} came after {}", request.sequence(), taken_),
          "sequence");
  }
  Status status;
  switch (request.item_case()) {
    case v1::TelemetryRequest::kLog:
      status = TakeLog(*request.mutable_log());
      break;
    case v1::TelemetryRequest::kPoints:
      status = TakePoints(request.points());
      break;
    case v1::TelemetryRequest::kEvent:
      status = TakeNote(request.event());
      break;
    case v1::TelemetryRequest::ITEM_NOT_SET:
      break;  // of a newer worker: nothing that we know how to keep
  }
  RETURN_IF_ERROR(status);
  absl::MutexLock lock(&mu_);
  taken_ = request.sequence();
  return OkStatus();
}

void TelemetryStream::AskForSync() {
  int64_t covers;
  {
    absl::MutexLock lock(&mu_);
    if (syncing_ || synced_ == taken_) return;
    syncing_ = true;
    covers = taken_;
  }
  runtime_.context().history.WhenSynced(
      [self = std::static_pointer_cast<TelemetryStream>(shared_from_this()),
       covers](const Status& status) {
        if (!status.ok()) return self->EndWith(status);
        {
          absl::MutexLock lock(&self->mu_);
          self->syncing_ = false;
          self->synced_ = covers;
        }
        self->Wake();
      });
}

bool TelemetryStream::Fill(v1::TelemetryResponse* message) {
  AskForSync();
  absl::MutexLock lock(&mu_);
  if (acknowledged_ == synced_ && go_back_.empty()) return false;
  acknowledged_ = synced_;
  message->set_acknowledged(acknowledged_);
  for (const auto& [key, offset] : go_back_) {
    v1::LogPosition* position = message->add_positions();
    position->set_job_id(key.job.value);
    position->set_attempt(key.attempt);
    position->set_rank(key.rank);
    position->set_offset(offset);
  }
  go_back_.clear();
  return true;
}

bool TelemetryStream::Owes() const {
  absl::MutexLock lock(&mu_);
  return acknowledged_ < taken_ || !go_back_.empty();
}

}  // namespace trainyard::coordinator

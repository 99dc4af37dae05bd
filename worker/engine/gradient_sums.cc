#include "worker/engine/gradient_sums.h"

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr size_t kCallFloats = size_t{1} << 18;  // at least, but for the last call

}  // namespace

GradientSums::GradientSums(std::span<float> gradients, const std::vector<LayoutRange>& order)
    : all_(gradients), ranges_(order.size()) {
  size_t end = gradients.size();  // of the call that is being put together
  for (size_t i = 0; i < order.size(); ++i) {
    const auto first = static_cast<size_t>(order[i].first);
    const size_t above = i == 0 ? gradients.size() : static_cast<size_t>(order[i - 1].first);
    REQUIRE(first + static_cast<size_t>(order[i].count) == above);
    if (end - first < kCallFloats && i + 1 < order.size()) continue;
    calls_.push_back({gradients.subspan(first, end - first), i + 1});
    end = first;
  }
  REQUIRE(end == 0);
}

GradientSums::~GradientSums() {
  Collective* to_abort = nullptr;
  {
    const absl::MutexLock lock(&mu_);
    stop_ = true;
    if (step_.has_value()) to_abort = step_->collective;
  }
  if (to_abort != nullptr) to_abort->Abort();
  if (thread_.has_value()) thread_->Join();
}

void GradientSums::Begin(Collective* collective, absl::Duration timeout) {
  if (collective == nullptr || !collective->waits_for_network()) return;
  const absl::MutexLock lock(&mu_);
  if (step_.has_value()) return;
  step_ = Step{.collective = collective, .timeout = timeout};
  if (!thread_.has_value()) thread_.emplace("gradient-sums", [this] { SumFinished(); });
}

void GradientSums::Finished(size_t finished) {
  const absl::MutexLock lock(&mu_);
  if (step_.has_value()) step_->finished = finished;
}

Status GradientSums::Finish(Collective* collective, absl::Duration timeout) {
  waited_ = absl::ZeroDuration();
  if (collective == nullptr) return OkStatus();
  const absl::Duration begin = clock_.Elapsed();
  Status status;
  if (!collective->waits_for_network()) {
    status = collective->AllReduceSum(all_, timeout);
  } else {
    Begin(collective, timeout);
    Finished(ranges_);
    const absl::MutexLock lock(&mu_);
    REQUIRE(step_->collective == collective);
    mu_.Await(absl::Condition(this, &GradientSums::IsOver));
    status = step_->status;
    step_.reset();
  }
  waited_ = clock_.Elapsed() - begin;
  return status;
}

bool GradientSums::HasWork() const {
  if (stop_) return true;
  return step_.has_value() && step_->status.ok() && step_->done < calls_.size() &&
         calls_[step_->done].ranges <= step_->finished;
}

bool GradientSums::IsOver() const { return step_->done == calls_.size() || !step_->status.ok(); }

void GradientSums::SumFinished() {
  while (true) {
    mu_.LockWhen(absl::Condition(this, &GradientSums::HasWork));
    if (stop_) break;
    const std::span<float> values = calls_[step_->done].values;
    Collective* const collective = step_->collective;
    const absl::Duration timeout = step_->timeout;
    mu_.Unlock();
    Status status = collective->AllReduceSum(values, timeout);
    mu_.Lock();
    // The step is still there: Finish takes it away only when it is over.
    step_->status = std::move(status);
    ++step_->done;
    mu_.Unlock();
  }
  mu_.Unlock();
}

}  // namespace trainyard::worker

#include "worker/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trainyard::worker {
namespace {

// Share of the way from `begin` to `begin + length` that `u` updates have gone, in 0..1.
double Progress(int64_t u, int64_t begin, int64_t length) {
  if (u <= begin) return 0;
  return std::min(
      1.0, static_cast<double>(u - begin) / static_cast<double>(std::max<int64_t>(1, length)));
}

double HalfCosine(double progress) { return 0.5 * (1 + std::cos(std::numbers::pi * progress)); }

}  // namespace

double Schedule::LearningRate(int64_t updates_done) const {
  if (updates_done < warmup_steps) {
    return peak * static_cast<double>(updates_done) / static_cast<double>(warmup_steps);
  }
  const double whole = Progress(updates_done, warmup_steps, max_steps - warmup_steps);
  const auto above_floor = [&](double factor) {
    return peak * (factor * (1 - min_lr_ratio) + min_lr_ratio);
  };
  switch (kind) {
    case ScheduleKind::kConstant:
      return peak;
    case ScheduleKind::kLinear:
      return above_floor(1 - whole);
    case ScheduleKind::kCosine:
      return above_floor(HalfCosine(whole));
    case ScheduleKind::kWarmupStableDecay: {
      if (decay_steps == 0) return peak;
      const int64_t decay_begin = std::max(warmup_steps, max_steps - decay_steps);
      return above_floor(HalfCosine(Progress(updates_done, decay_begin, max_steps - decay_begin)));
    }
  }
  return peak;
}

StatusOr<ScheduleKind> ScheduleKindFromName(const std::string& name) {
  if (name == "cosine") return ScheduleKind::kCosine;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "warmup_stable_decay") return ScheduleKind::kWarmupStableDecay;
  return InvalidArgument(
      "train.lr_scheduler_type is '{}'; write cosine, linear, constant or warmup_stable_decay",
      name);
}

}  // namespace trainyard::worker

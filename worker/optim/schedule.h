// Learning-rate schedules as pure functions of the number of updates done: nothing to save, nothing
// to restore. Where the names are the same, values equal those of transformers' get_scheduler
// (transformers/optimization.py, 5.x), whose LambdaLR gives the k-th update the factor of k - 1:
// so the first update of a warmup has the rate 0, and the floor itself would be reached one update
// after the last.
//
//   all kinds              peak * u / warmup_steps for u < warmup_steps; after it peak times
//   constant               1
//   linear                 1 - t, scaled onto [min_lr_ratio, 1], t = (u - warmup) / (max - warmup)
//   cosine                 (1 + cos(pi t)) / 2, scaled likewise
//   warmup_stable_decay    1 until max_steps - decay_steps, then a cosine down to min_lr_ratio
//
// Two differences to transformers: its "linear" knows no floor (ours with min_lr_ratio = 0 is the
// same), and its warmup_stable_decay starts the warmup at the floor instead of 0.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"

namespace trainyard::worker {

enum class ScheduleKind { kCosine, kLinear, kConstant, kWarmupStableDecay };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 0;          // learning rate
  double min_lr_ratio = 0;  // the floor as a share of the peak
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;  // warmup_stable_decay: length of the final decay
  int64_t max_steps = 0;

  // The rate of the update that follows `updates_done` others; updates_done in 0..max_steps-1.
  double LearningRate(int64_t updates_done) const;
};

// "cosine", "linear", "constant", "warmup_stable_decay"; InvalidArgument for anything else.
StatusOr<ScheduleKind> ScheduleKindFromName(const std::string& name);

}  // namespace trainyard::worker

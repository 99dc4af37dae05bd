// What is said about training steps.
#pragma once

#include <absl/time/time.h>

#include <cstdint>

#include "worker/loop/rank_link.h"
#include "worker/loop/step_clock.h"
#include "worker/loop/step_sums.h"

namespace trainyard::worker {

// Averages times over the steps since it last spoke. Losses are each step's own.
class StepLog {
 public:
  // Places of one pass over the data, for the metric "epoch".
  explicit StepLog(int64_t places_per_epoch) : places_per_epoch_(places_per_epoch) {}
  void Add(absl::Duration step_took) {
    time_ += step_took;
    ++steps_;
  }
  // Metric points and a line of the log. `step_clock` starts anew.
  void Tell(RankLink& link, const StepReport& report, StepClock& step_clock);

 private:
  int64_t places_per_epoch_;
  absl::Duration time_ = absl::ZeroDuration();
  int64_t steps_ = 0;
};

}  // namespace trainyard::worker

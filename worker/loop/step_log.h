// What a training step comes to, and what is said about it.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/engine.h"
#include "worker/loop/rank_link.h"
#include "worker/loop/step_clock.h"

namespace trainyard::worker {

// What the ranks of a step tell each other, summed in rank order.
struct StepSums {
  std::vector<double> loss_of_rank;  // each rank fills in its own part
  double matches = 0;                // targets that were the likeliest
  double stop_requested = 0;         // ranks that were asked to stop with a checkpoint
  double agents_gone = 0;            // ranks that nobody dials any more

  double loss() const;
  // The first rank whose part of the loss is not finite; -1: none.
  int64_t first_rank_not_finite() const;
};

struct StepReport {
  int64_t step = 0;  // steps done, this one included
  StepSums sums;
  UpdateReport update;
  double learning_rate = 0;
  int64_t targets = 0;  // over all ranks: tokens that the loss is the mean of
  int64_t places = 0;   // over all ranks: tokens read
};

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

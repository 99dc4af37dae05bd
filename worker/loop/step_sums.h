// What a training step comes to.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "worker/engine/engine.h"
#include "worker/parallel/collective.h"

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

// Makes every rank's sums those of all. Null: this rank is alone.
Status SumOverRanks(StepSums& sums, Collective* collective, absl::Duration timeout);

struct StepReport {
  int64_t step = 0;  // steps done, this one included
  StepSums sums;
  UpdateReport update;
  double learning_rate = 0;
  int64_t targets = 0;  // over all ranks: tokens that the loss is the mean of
  int64_t places = 0;   // over all ranks: tokens read
};

}  // namespace trainyard::worker

#include "worker/loop/skips.h"

#include <fmt/format.h>

#include "worker/loop/outcome.h"

namespace trainyard::worker {

std::string WhatWasSkipped(const StepReport& report) {
  const int64_t guilty = report.sums.first_rank_not_finite();
  return fmt::format("step {}: the gradient of {} is not finite (loss {}{}); the update is skipped",
                     report.step, report.update.non_finite_in, report.sums.loss(),
                     guilty < 0 ? "" : fmt::format(" on rank {}", guilty));
}

Status Skips::Count(const StepReport& report) {
  if (!report.update.skipped) {
    in_a_row = 0;
    return OkStatus();
  }
  ++total;
  ++in_a_row;
  if (in_a_row < kSkipsInARowMax && total < kSkipsMax) return OkStatus();
  return WithReason(
      Internal("{}, {} in a row and {} in all; lower train.learning_rate, raise warmup_steps, or "
               "look at the data of this step",
               WhatWasSkipped(report), in_a_row, total),
      kLossNotFinite);
}

}  // namespace trainyard::worker

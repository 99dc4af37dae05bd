#include "worker/loop/step_sums.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

namespace trainyard::worker {

double StepSums::loss() const {
  return std::accumulate(loss_of_rank.begin(), loss_of_rank.end(), 0.0);
}

int64_t StepSums::first_rank_not_finite() const {
  const auto found = std::find_if(loss_of_rank.begin(), loss_of_rank.end(),
                                  [](double loss) { return !std::isfinite(loss); });
  return found == loss_of_rank.end() ? -1 : found - loss_of_rank.begin();
}

Status SumOverRanks(StepSums& sums, Collective* collective, absl::Duration timeout) {
  if (collective == nullptr) return OkStatus();
  std::vector<double> all = sums.loss_of_rank;
  all.insert(all.end(), {sums.matches, sums.stop_requested, sums.agents_gone});
  RETURN_IF_ERROR(collective->AllReduceSum(std::span<double>(all), timeout));
  const auto others = all.end() - 3;
  sums = {.loss_of_rank = {all.begin(), others},
          .matches = others[0],
          .stop_requested = others[1],
          .agents_gone = others[2]};
  return OkStatus();
}

}  // namespace trainyard::worker

// Cross-entropy, the objective of pretraining: loss = -scale sum log p(target).
#pragma once

#include "worker/objective/token_objective.h"

namespace trainyard::worker {

class CrossEntropy : public TokenObjective {
 public:
  // `scale`: 1 / trained tokens of the global batch, over all ranks and micro-batches, so that the
  // parts add up to the mean. InvalidArgument when nothing is trained.
  static StatusOr<CrossEntropy> Over(int64_t global_targets);

  bool coefficients_known_beforehand() const override { return true; }
  StatusOr<TokenGradients> Evaluate(const TokenSignals& signals) const override;

 private:
  explicit CrossEntropy(double scale) : scale_(scale) {}
  double scale_;
};

}  // namespace trainyard::worker

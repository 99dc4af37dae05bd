#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {

StatusOr<CrossEntropy> CrossEntropy::Over(int64_t global_targets) {
  if (global_targets <= 0) {
    return InvalidArgument(
        "the batch has {} trained tokens, a loss needs at least one; give it text that is longer "
        "than one token",
        global_targets);
  }
  return CrossEntropy(1.0 / static_cast<double>(global_targets));
}

StatusOr<TokenGradients> CrossEntropy::Evaluate(const TokenSignals& signals) const {
  TokenGradients gradients;
  for (const float logprob : signals.logprob_N) gradients.loss_sum -= scale_ * logprob;
  gradients.d_logprob_N.assign(signals.logprob_N.size(), static_cast<float>(-scale_));
  return gradients;
}

}  // namespace trainyard::worker

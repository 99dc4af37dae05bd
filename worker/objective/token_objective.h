// A token objective: from what the head says of each trained token to the loss and its derivatives.
// A pure function on small arrays; knows no model, device or rank.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

// Per trained token, in batch order. N: trained tokens of the micro-batch.
struct TokenSignals {
  std::span<const float> logprob_N;  // natural log of the target's probability
  std::span<const float> entropy_N;  // nats; empty when coefficients_known_beforehand()
};

struct TokenGradients {
  double loss_sum = 0;             // this micro-batch's part of the global loss
  std::vector<float> d_logprob_N;  // d loss / d logprob
  std::vector<float> d_entropy_N;  // empty: zero
};

class TokenObjective {
 public:
  virtual ~TokenObjective() = default;
  // True when d_logprob does not depend on the signals (cross-entropy): the head then needs one
  // sweep instead of two.
  virtual bool coefficients_known_beforehand() const = 0;
  virtual StatusOr<TokenGradients> Evaluate(const TokenSignals& signals) const = 0;
};

}  // namespace trainyard::worker

// Weights of a model that has seen nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/model/layout.h"

namespace trainyard::worker {

// Fills the flat buffer. Each element is a function of (seed, tensor name, element) alone: normal
// with deviation initializer_range, divided by sqrt(2 layers) for the projections that write into
// the residual stream (Radford et al. 2019, section 2.3); norms are 1, biases 0.
void FillFreshWeights(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
                      uint64_t seed, std::span<float> weights);

}  // namespace trainyard::worker

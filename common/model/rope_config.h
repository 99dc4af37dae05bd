// Rotary embedding's frequencies, and the ways in which models stretch them to longer items.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/status.h"

namespace trainyard {

enum class RopeKind {
  kDefault,
  kLinear,   // every frequency is divided by `factor`
  kDynamic,  // differs from the default only beyond max_positions, where no item reaches
  kYarn,     // Peng et al. 2023, arXiv:2309.00071
  kLlama3,   // Llama 3.1: low frequencies are divided, high ones kept, those between blended
};

struct RopeConfig {
  double theta = 10000.0;
  RopeKind kind = RopeKind::kDefault;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  int64_t original_max_positions = 0;                    // llama3, yarn
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 1.0;                         // yarn: cosines and sines times it
  bool truncate = true;                                  // yarn: whole dims bound the blend
  bool operator==(const RopeConfig&) const = default;
};

// Reads rope_theta with rope_scaling (files of transformers 4) and rope_parameters (5) as
// transformers does: where both stand, rope_scaling counts; original_max_position_embeddings beside
// them counts before the one inside; one that is nowhere is max_positions. What is not there stays
// as it is in `rope`. InvalidArgument names the key.
Status ReadRope(const nlohmann::json& config, int64_t max_positions, RopeConfig& rope);
// Of a model whose full and sliding layers turn differently (Gemma 3): rope_parameters has an entry
// for each, rope_scaling changes the full layers' entry, rope_theta and rope_local_base_freq stand
// for a missing theta.
Status ReadLayeredRope(const nlohmann::json& config, int64_t max_positions, RopeConfig& full,
                       RopeConfig& sliding);
// The value of rope_parameters, which has rope_theta in it.
nlohmann::ordered_json RopeParametersJson(const RopeConfig& rope);

// [width / 2] the angle between neighbouring places. In `Real`, step by step as transformers rounds
// them in float32: past a thousand positions the rounding is part of the model.
template <class Real>
std::vector<Real> RopeFrequencies(const RopeConfig& rope, int64_t width);

}  // namespace trainyard

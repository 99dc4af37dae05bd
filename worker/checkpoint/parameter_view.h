// A tensor as checkpoints see it: float32 masters, moments, indexed by name and never by rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trainyard::worker {

// The pointers live as long as the engine they come from; they may be written to restore a state.
struct ParameterView {
  std::string name;  // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  float* master = nullptr;
  float* moment1 = nullptr;  // both null: no optimiser updates this tensor
  float* moment2 = nullptr;
  int64_t count = 0;  // elements
};

}  // namespace trainyard::worker

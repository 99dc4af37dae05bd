// What backward computes again instead of keeping it: bits stay the same, memory goes down, time
// up.
#pragma once

#include <string_view>

namespace trainyard::plan {

enum class Recompute {
  kNone,
  kActivations,  // norms' outputs and the MLP's activation
  kBlock,        // all of a block but its input
};

// As train.recompute has it; what the field table refuses never comes here.
inline Recompute RecomputeFromName(std::string_view name) {
  if (name == "activations") return Recompute::kActivations;
  return name == "block" ? Recompute::kBlock : Recompute::kNone;
}

}  // namespace trainyard::plan

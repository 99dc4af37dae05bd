// A tensor of a model as its files offer it, whatever the format: under its Hugging Face name, in
// Hugging Face's layout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/checkpoint/safetensors.h"

namespace trainyard::worker {

struct SourceTensor {
  std::string name;  // canonical (family_names.h)
  std::vector<int64_t> shape;
  int64_t count = 0;        // values
  bool is_trained = true;   // false: of a head that our models do not have
  std::string_view stored;  // the type in the file: "BF16", "Q4_1", ...
  // F32, F16 or BF16 where that holds every value without loss; nothing for quantised tensors.
  std::optional<TensorType> type;
  int64_t unit = 1;  // reads begin at, and have, multiples of so many values
};

}  // namespace trainyard::worker

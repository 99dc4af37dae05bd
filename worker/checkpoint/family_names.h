// What the tensors of a Hugging Face checkpoint are called, family by family: files of many years
// name the same tensor differently, hold buffers that are no weights, and may or may not repeat a
// tied head.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

enum class TensorRole {
  kWeight,  // what the family's language model computes with
  kUnused,  // a weight of another head (BERT's pooler, next-sentence head): kept, but not trained
  kBuffer,  // a constant that code makes anew (masks, position ids, frequencies): dropped
  kTied,    // the same tensor as `tied_to` where the model ties its embeddings
};

struct CanonicalName {
  std::string name;  // as transformers writes it today, with the family's prefix
  TensorRole role = TensorRole::kWeight;
  std::string tied_to;
};

// Names with or without the base model's prefix ("transformer.", "model.", "bert.", ...) and with
// LayerNorm's old "gamma" and "beta" are accepted. A model_type that has no row keeps its names.
CanonicalName CanonicalTensorName(std::string_view model_type, std::string_view name);

}  // namespace trainyard::worker

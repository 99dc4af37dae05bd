// Where each parameter lies in the flat buffers: the one list that weights, gradients, moments and
// checkpoints share. Names and shapes are those of a Hugging Face checkpoint of the family; a tied
// head is not listed twice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model/config.h"

namespace trainyard {

enum class Init { kNormal, kResidual, kOne, kZero };

// A part of the flat buffers, in elements.
struct LayoutRange {
  int64_t first = 0;
  int64_t count = 0;
};

struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;
  Init init = Init::kNormal;
  int64_t first = 0;  // offset in the flat buffers, elements
  int64_t count = 0;

  // A linear layer of a block or of a masked head: the output widths of the projections that it
  // packs, each of which is a matrix of its own to the optimiser. Empty for embeddings, the head,
  // norms and biases.
  std::vector<int64_t> projections = {};
  bool is_in_out = false;  // shape is [in, out]

  bool decays() const { return shape.size() >= 2; }
};

// Its family's names of tensors.
const NameMap& NamesOf(const ModelConfig& config);

// Offsets are dense and in list order. Tensors that are multiplied together (q, k, v; gate, up)
// are neighbours, so that one product serves them.
std::vector<ParameterSpec> ParameterLayout(const ModelConfig& config);

// All of the flat buffers in the order in which backward finishes their gradients, from the end
// down: what stands after the blocks (final norm, head; may be nothing), the blocks from the last
// to the first, embeddings.
std::vector<LayoutRange> BackwardOrder(const ModelConfig& config,
                                       const std::vector<ParameterSpec>& layout);

}  // namespace trainyard

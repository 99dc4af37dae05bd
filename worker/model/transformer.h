// A decoder-only transformer over flat buffers of weights and gradients.
// Shape letters: T tokens of the micro-batch, D hidden size, V vocabulary, E packed queries, keys
// and values, M MLP width, H head width, P positions.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "worker/data/batch.h"
#include "worker/model/block.h"
#include "worker/model/config.h"
#include "worker/model/layout.h"

namespace trainyard::worker {

// What backward needs of a forward pass.
struct Activations {
  Tensor token_ids_T, position_ids_T;  // int64
  Places places;
  std::vector<BlockSaved> blocks;
  Tensor last_TD;  // what the final norm saw
  NormSaved final_norm;
};

// Keys and values of one prompt, all layers.
struct KvCache {
  std::vector<KvLayer> layers;
  int64_t length = 0;
  int64_t capacity = 0;
};

class Transformer {
 public:
  // `weights` and `gradients` are flat, in the order of `layout`, on one device, and outlive the
  // transformer; the gradients are in the wide type of the weights.
  Transformer(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
              const Tensor& weights, const Tensor& gradients,
              plan::Recompute recompute = plan::Recompute::kNone);

  // The hidden states after the final norm; the head is the caller's. The batch has been checked.
  // `saved` may be null when no backward follows.
  Tensor Forward(const Batch& batch, Activations* saved) const;
  // Adds the gradients of everything below the head, whose own are there already. Consumes `saved`,
  // block by block. `finished` is told how many ranges of BackwardOrder get no more gradients.
  using RangesFinished = std::function<void(size_t ranges)>;
  void Backward(const Tensor& dhidden_TD, Activations& saved,
                const RangesFinished& finished = {}) const;

  // The head's [V, D]: the token embedding's when tied.
  const Parameter& head_VD() const { return head_VD_; }

  KvCache NewCache(int64_t capacity) const;
  // Continues the cached item by `tokens` and returns their hidden states after the final norm.
  Tensor Decode(std::span<const int32_t> tokens, KvCache& cache) const;

 private:
  at::Device device() const { return token_embedding_VD_.value.device(); }
  Tensor Embed(const Tensor& token_ids_T, const Tensor& position_ids_T) const;
  Places PlacesOf(const Tensor& position_ids_T, std::vector<int32_t> cu_seqlens) const;

  const ModelConfig config_;
  RopeTable rope_;  // every position; empty with learned positions
  Parameter token_embedding_VD_;
  Parameter position_embedding_PD_;
  std::vector<Block> blocks_;
  Norm final_norm_;
  Parameter head_VD_;
};

}  // namespace trainyard::worker

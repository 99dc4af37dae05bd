// A transformer over flat buffers of weights and gradients: embeddings, blocks, a final norm.
// Shape letters: T tokens of the micro-batch, D hidden size, V vocabulary, E packed queries, keys
// and values, M MLP width, H head width, P positions, Y token types.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/model/config.h"
#include "common/model/layout.h"
#include "worker/data/batch.h"
#include "worker/model/block.h"
#include "worker/model/prediction_head.h"

namespace trainyard::worker {

// What backward needs of a forward pass.
struct Activations {
  Tensor token_ids_T, position_ids_T;  // int64
  Places places;
  std::vector<BlockSaved> blocks;
  Tensor embedded_TD;  // what the embeddings' norm saw
  NormSaved embedding_norm;
  Tensor last_TD;  // what the final norm saw
  NormSaved final_norm;
};

// Keys and values of one item, all layers.
struct KvCache {
  std::vector<KvLayer> layers;
  int64_t length = 0;
  int64_t capacity = 0;

  // Of an empty cache with room for them: the first `count` tokens of another of the same model.
  void TakeFirst(int64_t count, const KvCache& other);
};
// Tokens that continue an item.
struct Continuation {
  std::span<const int32_t> tokens;  // at least one, and room in the cache for all
  KvCache* cache;
};

class Transformer {
 public:
  // `weights` and `gradients` are flat, in the order of `layout`, on one device, and outlive the
  // transformer; the gradients are in the wide type of the weights.
  Transformer(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
              const Tensor& weights, const Tensor& gradients,
              plan::Recompute recompute = plan::Recompute::kNone);

  // The last hidden states, after the final norm if there is one; the head is the caller's to use.
  // The batch has been checked.
  // `saved` may be null when no backward follows.
  Tensor Forward(const Batch& batch, Activations* saved) const;
  // Adds the gradients of everything below the head, whose own are there already. Consumes `saved`,
  // block by block. `finished` is told how many ranges of BackwardOrder get no more gradients.
  using RangesFinished = std::function<void(size_t ranges)>;
  void Backward(const Tensor& dhidden_TD, Activations& saved,
                const RangesFinished& finished = {}) const;

  const PredictionHead& head() const { return head_; }

  KvCache NewCache(int64_t capacity) const;
  // Continues cached items, each by its tokens, all in one pass; returns the hidden states of each
  // one's last token, [items, D]. Of a model that looks forward it makes no sense: causal only.
  Tensor Decode(std::span<const Continuation> items) const;

 private:
  at::Device device() const { return embeddings_.token_VD.value.device(); }
  Tensor Embed(Activations& keep) const;
  std::vector<int64_t> PlacesAfterPads(const Batch& batch) const;
  void EmbedBackward(Tensor dx_TD, const Activations& saved) const;
  Places PlacesOf(const std::vector<int64_t>& position_ids_T,
                  std::vector<int32_t> cu_seqlens) const;
  // Attention of all items' new tokens in one layer.
  Tensor AttendTo(size_t layer, std::span<const Continuation> items, const Tensor& qkv_TE) const;

  struct Embeddings {
    Parameter token_VD, position_PD, type_YD;  // Y token types, of which 0 is used
    Norm norm;                                 // undefined weight: none
    double scale = 1;
  };
  // Angles and, as far as they are kept, their cosines and sines.
  struct Rope {
    RopeAngles angles;
    RopeTable table;
  };
  RopeTable RopeRows(const Rope& rope, const std::vector<int64_t>& position_ids_T) const;

  const ModelConfig config_;
  Rope rope_, local_rope_;  // without angles where no layer uses them
  Embeddings embeddings_;
  std::vector<Block> blocks_;
  Norm final_norm_;  // undefined weight: none
  PredictionHead head_;
};

}  // namespace trainyard::worker

// Models of the tests of the plan, and batches as pretraining has them.
#pragma once

#include "common/plan/model_shape.h"
#include "tests/worker/support/batches.h"
#include "worker/model/config.h"

namespace trainyard::worker {

inline plan::ModelShape ShapeOf(const ModelConfig& config) {
  const Family& family = config.family();
  return {.family = {.layer_norm = family.norm == NormKind::kLayer,
                     .learned_positions = family.position == PositionKind::kLearned,
                     .in_out_weights = family.names.linear_is_in_out,
                     .gated = family.gated(),
                     .norm_place = static_cast<plan::NormPlace>(family.norm_place),
                     .query_key_norm = family.query_key_norm,
                     .masked_head = family.head == HeadKind::kMasked,
                     .token_types = !family.names.type_embedding.empty(),
                     .local_rope = config.model_type == "gemma3_text"},
          .vocab_size = config.vocab_size,
          .hidden_size = config.hidden_size,
          .layers = config.layers,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_width = config.head_width,
          .mlp_width = config.mlp_width,
          .max_positions = config.max_positions,
          .type_vocab_size = config.type_vocab_size,
          .qkv_bias = config.qkv_bias,
          .attention_out_bias = config.attention_out_bias,
          .mlp_bias = config.mlp_bias,
          .tie_embeddings = config.tie_embeddings};
}

inline ModelConfig Widened(ModelConfig config, int64_t layers) {
  config = *WithFamily(config);
  const bool own_keys = config.family().position == PositionKind::kLearned;
  config.vocab_size = 1511;
  config.hidden_size = 192;
  config.layers = layers;
  config.heads = 6;
  config.kv_heads = own_keys ? 6 : 3;
  config.head_width = 32;
  config.mlp_width = own_keys ? 768 : 512;
  config.max_positions = 512;
  if (!config.attention.empty()) {
    config.attention.resize(static_cast<size_t>(layers), config.attention[0]);
  }
  return config;
}

// Rows of which every place is trained, as pretraining has them.
inline Batch FullRows(int64_t rows, int64_t length, int64_t vocab) {
  Batch batch;
  batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    const Item ids = NoiseItem(length, vocab, static_cast<uint32_t>(row));
    for (int64_t i = 0; i < length; ++i) {
      batch.token_ids_T.push_back(ids[static_cast<size_t>(i)]);
      batch.target_ids_T.push_back(ids[static_cast<size_t>((i + 1) % length)]);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

}  // namespace trainyard::worker

// Models of the tests of the plan, and batches as pretraining has them.
#pragma once

#include "common/plan/model_shape.h"
#include "tests/worker/support/batches.h"
#include "worker/model/config.h"

namespace trainyard::worker {

inline plan::ModelShape ShapeOf(const ModelConfig& config) {
  return {.gpt2 = config.model_type == "gpt2",
          .vocab_size = config.vocab_size,
          .hidden_size = config.hidden_size,
          .layers = config.layers,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_width = config.head_width,
          .mlp_width = config.mlp_width,
          .max_positions = config.max_positions,
          .tie_embeddings = config.tie_embeddings};
}

inline ModelConfig Widened(ModelConfig config, int64_t layers) {
  config.vocab_size = 1511;
  config.hidden_size = 192;
  config.layers = layers;
  config.heads = 6;
  config.kv_heads = config.model_type == "gpt2" ? 6 : 3;
  config.head_width = 32;
  config.mlp_width = config.model_type == "gpt2" ? 768 : 512;
  config.max_positions = 512;
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

// Models of the tests of the plan, and batches as pretraining has them.
#pragma once

#include "common/model/config.h"
#include "tests/worker/support/batches.h"

namespace trainyard::worker {

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

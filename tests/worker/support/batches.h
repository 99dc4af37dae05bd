// Batches and models that are small enough to check.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/data/batch.h"
#include "worker/model/config.h"

namespace trainyard::worker {

using Item = std::vector<int32_t>;

// Every token's target is the next one of its item; the last is not trained.
inline Batch Pack(const std::vector<Item>& items) {
  Batch batch;
  batch.cu_seqlens.push_back(0);
  for (const Item& item : items) {
    for (size_t i = 0; i < item.size(); ++i) {
      batch.token_ids_T.push_back(item[i]);
      batch.target_ids_T.push_back(i + 1 < item.size() ? item[i + 1] : kNoTarget);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

// `length` ids that look like noise, the same for the same `salt`.
inline Item NoiseItem(int64_t length, int64_t vocab, uint32_t salt) {
  Item item;
  uint32_t state = salt * 2654435761U + 12345U;
  for (int64_t i = 0; i < length; ++i) {
    state = state * 1664525U + 1013904223U;
    item.push_back(static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab)));
  }
  return item;
}

inline ModelConfig TinyLlama() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 37;
  config.hidden_size = 24;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_width = 6;
  config.mlp_width = 40;
  config.max_positions = 64;
  return config;
}

inline ModelConfig TinyGpt2() {
  ModelConfig config = TinyLlama();
  config.model_type = "gpt2";
  config.kv_heads = config.heads;
  config.mlp_width = 96;
  config.tie_embeddings = true;
  return config;
}

// Without rope a key's bias adds the same to every score of a query: its true gradient is zero.
inline bool IsKeyBias(const ModelConfig& config, const std::string& name) {
  const std::vector<std::string>& qkv = config.family().names.qkv;
  return config.family().position == PositionKind::kLearned && qkv.size() == 3 &&
         name.ends_with("." + qkv[1] + ".bias");
}

// A tiny model of any family, with everything on that the family can have.
inline ModelConfig TinyOf(const std::string& model_type) {
  if (model_type == "gpt2") return *WithFamily(TinyGpt2());
  ModelConfig config = TinyLlama();
  config.model_type = model_type;
  const Family& family = config.family();
  if (family.position == PositionKind::kLearned) {
    config.kv_heads = config.heads;
    config.tie_embeddings = true;
    config.pad_id = 1;
    if (family.positions_after_pad) config.first_position = 2;
    if (!family.names.type_embedding.empty()) config.type_vocab_size = 2;
  }
  if (family.defaults.sliding_window > 0) {
    config.attention = {{.window = 5, .is_local = model_type == "gemma3_text"}, {}};
  }
  if (model_type == "mistral") config.attention[1] = config.attention[0];
  if (model_type == "gemma2") {
    config.attention_softcap = 1.5;
    config.logit_softcap = 2.5;
    config.query_scale = 5;
  }
  config.local_rope.theta = 500;
  config.qkv_bias = family.qkv_bias == Bias::kByKey;
  config.attention_out_bias = family.attention_out_bias == Bias::kByKey;
  config.mlp_bias = family.mlp_bias == Bias::kByKey;
  return *WithFamily(config);
}

}  // namespace trainyard::worker

// Models that are small enough to check.
#pragma once

#include <string>
#include <vector>

#include "common/model/config.h"

namespace trainyard {

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

}  // namespace trainyard

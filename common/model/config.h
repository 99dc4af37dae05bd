// A model's shape, read from and written to a Hugging Face config.json.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/model/family.h"
#include "common/model/rope_config.h"
#include "common/status.h"

namespace trainyard {

// Which of their item's tokens a layer's tokens see, beside what causality hides.
struct LayerAttention {
  // The last so many, itself included; of a model that is not causal also the next so many; 0: all.
  int64_t window = 0;
  bool is_local = false;  // turned by ModelConfig::local_rope instead of rope
  bool operator==(const LayerAttention&) const = default;
};

struct ModelConfig {
  std::string model_type = "llama";  // a family's
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_width = 0;
  int64_t mlp_width = 0;
  int64_t max_positions = 0;    // rows of the position embedding, or the longest item
  int64_t first_position = 0;   // of an item; RoBERTa's is not 0
  int64_t type_vocab_size = 0;  // BERT's token types, of which only the first is used
  double norm_epsilon = 1e-5;
  RopeConfig rope = {};
  RopeConfig local_rope = {};
  std::vector<LayerAttention> attention = {};  // one per layer; empty: every layer sees everything
  std::optional<bool> causal =
      {};                        // whether tokens see only what is before them; else the family's
  double query_scale = 0;        // scores are divided by its root; 0: head_width
  bool scale_by_layer = false;   // GPT-2's: scores are also divided by the layer's number from 1
  double attention_softcap = 0;  // c: scores become c tanh(score / c); 0: none
  double logit_softcap = 0;
  bool qkv_bias = false, attention_out_bias = false, mlp_bias = false;
  bool has_head = true;  // false: a bare BERT, which predicts nothing
  double initializer_range = 0.02;
  bool tie_embeddings = false;
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t pad_id = -1;

  // Its row; model_type must be known.
  const Family& family() const;
  LayerAttention attention_of(int64_t layer) const;
  // Not what it predicts: a decoder may look both ways, an encoder only back.
  bool is_causal() const { return causal.value_or(family().causal); }
  int64_t query_width() const { return heads * head_width; }
  int64_t kv_width() const { return kv_heads * head_width; }
  int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
  // What the first linear layers of the MLP give: of a gated one, gate and up side by side.
  int64_t mlp_in_width() const { return family().gated() ? 2 * mlp_width : mlp_width; }
  // Whether some layer is turned by local_rope.
  bool has_local_rope() const;
  // Tokens of the longest item.
  int64_t max_length() const { return max_positions - first_position; }
  int64_t parameter_count() const;
};

// InvalidArgument when something is missing or does not fit (heads not dividing the width, unknown
// model_type, unsupported rope_scaling, ...); its message begins with the key, then says the rule.
StatusOr<ModelConfig> ModelConfigFromJson(const nlohmann::json& config);
// The same rules for a config that was written in code; Create and FromJson call it.
Status ValidateModelConfig(const ModelConfig& config);
// `config` with what its family always has (biases that no key switches); InvalidArgument for an
// unknown model_type.
StatusOr<ModelConfig> WithFamily(ModelConfig config);
// What transformers' from_pretrained needs.
nlohmann::ordered_json ModelConfigToJson(const ModelConfig& config);

}  // namespace trainyard

// A model's shape as far as memory and time go. The trainer's own is worker/model/config.h, whose
// families' words these are; tests hold the two together.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/status.h"

namespace trainyard::plan {

enum class NormPlace { kBefore, kAround, kAfter };

// What of a family matters here.
struct FamilyShape {
  bool layer_norm = false;         // two statistics a token, and a bias
  bool learned_positions = false;  // else rope
  bool in_out_weights = false;     // GPT-2 keeps its weights as [in, out]
  bool gated = true;               // the MLP's first layer gives gate and up side by side
  NormPlace norm_place = NormPlace::kBefore;
  bool query_key_norm = false;
  bool masked_head =
      false;  // a layer and a norm before the logits, which have a bias; no final norm
  bool token_types = false;
  bool local_rope = false;  // a second table
};

struct ModelShape {
  FamilyShape family = {};
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_width = 0;
  int64_t mlp_width = 0;
  int64_t max_positions = 0;
  int64_t type_vocab_size = 0;
  bool qkv_bias = false, attention_out_bias = false, mlp_bias = false;
  bool tie_embeddings = false;

  // Packed queries, keys and values of a token.
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }
  int64_t attention_width() const { return heads * head_width; }
  int64_t kv_width() const { return kv_heads * head_width; }
  // What the first linear layer of the MLP gives.
  int64_t mlp_in_width() const { return family.gated ? 2 * mlp_width : mlp_width; }

  int64_t parameter_count() const;
  // Of them, those that multiply each token: all but embeddings that are only looked up.
  int64_t multiplying_parameters() const;
};

// From a Hugging Face config.json's keys and, where they do not say, the tokenizer's vocabulary.
// InvalidArgument names what is missing or does not fit; Unimplemented a family or an option whose
// memory is not modelled (capped logits).
StatusOr<ModelShape> ModelShapeFromConfig(const nlohmann::ordered_json& config, int64_t vocab_size);

}  // namespace trainyard::plan

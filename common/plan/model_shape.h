// A model's shape as far as memory and time go. The trainer's own is worker/model/config.h; a test
// holds the two together.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/status.h"

namespace trainyard::plan {

struct ModelShape {
  bool gpt2 = false;  // else llama
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_width = 0;
  int64_t mlp_width = 0;
  int64_t max_positions = 0;
  bool tie_embeddings = false;

  // Packed queries, keys and values of a token.
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_width; }
  int64_t attention_width() const { return heads * head_width; }
  // What the first linear layer of the MLP gives: gate and up side by side, or one.
  int64_t mlp_in_width() const { return gpt2 ? mlp_width : 2 * mlp_width; }

  int64_t parameter_count() const;
  // Of them, those that multiply each token: all but embeddings that are only looked up.
  int64_t multiplying_parameters() const;
};

// From a Hugging Face config.json's keys and, where they do not say, the tokenizer's vocabulary.
// InvalidArgument names what is missing or does not fit.
StatusOr<ModelShape> ModelShapeFromConfig(const nlohmann::ordered_json& config, int64_t vocab_size);

}  // namespace trainyard::plan

#include "common/plan/model_shape.h"

#include <string>

namespace trainyard::plan {
namespace {

constexpr int64_t kDimMax = int64_t{1} << 24;  // as the trainer has it

// The keys of a family for the same things.
struct Keys {
  const char *hidden_size, *layers, *heads, *mlp_width, *max_positions;
};
constexpr Keys kLlama = {"hidden_size", "num_hidden_layers", "num_attention_heads",
                         "intermediate_size", "max_position_embeddings"};
constexpr Keys kGpt2 = {"n_embd", "n_layer", "n_head", "n_inner", "n_positions"};

int64_t IntOr(const nlohmann::ordered_json& config, const char* key, int64_t otherwise) {
  return config.contains(key) && config[key].is_number_integer() ? config[key].get<int64_t>()
                                                                 : otherwise;
}

int64_t Linear(int64_t in, int64_t out, bool bias) { return in * out + (bias ? out : 0); }

}  // namespace

int64_t ModelShape::parameter_count() const {
  const int64_t norm = (gpt2 ? 2 : 1) * hidden_size;
  const int64_t block = 2 * norm + Linear(hidden_size, qkv_width(), gpt2) +
                        Linear(attention_width(), hidden_size, gpt2) +
                        Linear(hidden_size, mlp_in_width(), gpt2) +
                        Linear(mlp_width, hidden_size, gpt2);
  const int64_t embeddings = vocab_size * hidden_size * (tie_embeddings ? 1 : 2) +
                             (gpt2 ? max_positions * hidden_size : 0);
  return embeddings + layers * block + norm;
}

int64_t ModelShape::multiplying_parameters() const {
  const int64_t looked_up =
      (tie_embeddings ? 0 : vocab_size * hidden_size) + (gpt2 ? max_positions * hidden_size : 0);
  return parameter_count() - looked_up;
}

StatusOr<ModelShape> ModelShapeFromConfig(const nlohmann::ordered_json& config,
                                          int64_t vocab_size) {
  ModelShape shape;
  const std::string type = config.value("model_type", "");
  if (type != "llama" && type != "gpt2") {
    return InvalidArgument("no plan for model_type '{}'; there is one for llama, gpt2", type);
  }
  shape.gpt2 = type == "gpt2";
  const Keys& keys = shape.gpt2 ? kGpt2 : kLlama;
  shape.vocab_size = IntOr(config, "vocab_size", vocab_size);
  shape.hidden_size = IntOr(config, keys.hidden_size, 0);
  shape.layers = IntOr(config, keys.layers, 0);
  shape.heads = IntOr(config, keys.heads, 0);
  shape.kv_heads = shape.gpt2 ? shape.heads : IntOr(config, "num_key_value_heads", shape.heads);
  shape.head_width = shape.heads > 0 ? shape.hidden_size / shape.heads : 0;
  if (!shape.gpt2) shape.head_width = IntOr(config, "head_dim", shape.head_width);
  shape.mlp_width = IntOr(config, keys.mlp_width, shape.gpt2 ? 4 * shape.hidden_size : 0);
  shape.max_positions = IntOr(config, keys.max_positions, shape.gpt2 ? 1024 : 2048);
  shape.tie_embeddings = shape.gpt2;
  if (config.contains("tie_word_embeddings") && config["tie_word_embeddings"].is_boolean()) {
    shape.tie_embeddings = config["tie_word_embeddings"].get<bool>();
  }
  const std::pair<const char*, int64_t> positive[] = {{"vocab_size", shape.vocab_size},
                                                      {keys.hidden_size, shape.hidden_size},
                                                      {keys.layers, shape.layers},
                                                      {keys.heads, shape.heads},
                                                      {"num_key_value_heads", shape.kv_heads},
                                                      {"head_dim", shape.head_width},
                                                      {keys.mlp_width, shape.mlp_width},
                                                      {keys.max_positions, shape.max_positions}};
  for (const auto& [key, value] : positive) {
    if (value < 1 || value > kDimMax) {
      return InvalidArgument("model.config.{} must be between 1 and {}, got {}", key, kDimMax,
                             value);
    }
  }
  return shape;
}

}  // namespace trainyard::plan

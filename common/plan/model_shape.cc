#include "common/plan/model_shape.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace trainyard::plan {
namespace {

constexpr int64_t kDimMax = int64_t{1} << 24;  // as the trainer has it

enum class Bias { kNone, kAll, kByKey };

// The keys of a family for the same things, and what they are when they are not there.
struct Keys {
  const char* hidden_size = "hidden_size";
  const char* layers = "num_hidden_layers";
  const char* heads = "num_attention_heads";
  const char* mlp_width = "intermediate_size";
  const char* max_positions = "max_position_embeddings";
};
struct Row {
  const char* model_type;
  FamilyShape family;
  Keys keys = {};
  int64_t max_positions = 2048;
  int64_t head_width = 0;  // 0: hidden_size / heads
  bool tied = false;
  Bias qkv_bias = Bias::kNone, attention_out_bias = Bias::kNone, mlp_bias = Bias::kNone;
};

Row Llama() {
  return {.model_type = "llama",
          .family = {},
          .qkv_bias = Bias::kByKey,
          .attention_out_bias = Bias::kByKey,
          .mlp_bias = Bias::kByKey};
}
Row Mistral() { return {.model_type = "mistral", .family = {}, .max_positions = 4096 * 32}; }
Row Qwen2() {
  return {.model_type = "qwen2", .family = {}, .max_positions = 32768, .qkv_bias = Bias::kAll};
}
Row Qwen3() {
  return {.model_type = "qwen3",
          .family = {.query_key_norm = true},
          .max_positions = 32768,
          .head_width = 128,
          .qkv_bias = Bias::kByKey,
          .attention_out_bias = Bias::kByKey};
}
Row Gemma(const char* model_type, int64_t max_positions) {
  return {.model_type = model_type,
          .family = {.norm_place = NormPlace::kAround},
          .max_positions = max_positions,
          .head_width = 256,
          .tied = true,
          .qkv_bias = Bias::kByKey,
          .attention_out_bias = Bias::kByKey};
}
Row Gemma3() {
  Row row = Gemma("gemma3_text", 131072);
  row.family.query_key_norm = row.family.local_rope = true;
  return row;
}
Row Gpt2() {
  return {.model_type = "gpt2",
          .family = {.layer_norm = true,
                     .learned_positions = true,
                     .in_out_weights = true,
                     .gated = false},
          .keys = {"n_embd", "n_layer", "n_head", "n_inner", "n_positions"},
          .max_positions = 1024,
          .tied = true,
          .qkv_bias = Bias::kAll,
          .attention_out_bias = Bias::kAll,
          .mlp_bias = Bias::kAll};
}
Row Bert(const char* model_type, bool token_types) {
  return {.model_type = model_type,
          .family = {.layer_norm = true,
                     .learned_positions = true,
                     .gated = false,
                     .norm_place = NormPlace::kAfter,
                     .masked_head = true,
                     .token_types = token_types},
          .max_positions = 512,
          .tied = true,
          .qkv_bias = Bias::kAll,
          .attention_out_bias = Bias::kAll,
          .mlp_bias = Bias::kAll};
}
Row DistilBert() {
  Row row = Bert("distilbert", /*token_types=*/false);
  row.keys = {"dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings"};
  return row;
}

const std::vector<Row>& Rows() {
  static const std::vector<Row> kRows = {Llama(),
                                         Mistral(),
                                         Qwen2(),
                                         Qwen3(),
                                         Gemma("gemma2", 8192),
                                         Gemma3(),
                                         Gpt2(),
                                         Bert("bert", /*token_types=*/true),
                                         Bert("roberta", /*token_types=*/true),
                                         DistilBert()};
  return kRows;
}

int64_t IntOr(const nlohmann::ordered_json& config, const char* key, int64_t otherwise) {
  return config.contains(key) && config[key].is_number_integer() ? config[key].get<int64_t>()
                                                                 : otherwise;
}
bool BoolOr(const nlohmann::ordered_json& config, const char* key, bool otherwise) {
  return config.contains(key) && config[key].is_boolean() ? config[key].get<bool>() : otherwise;
}

int64_t Linear(int64_t in, int64_t out, bool bias) { return in * out + (bias ? out : 0); }

bool HasBias(Bias bias, const nlohmann::ordered_json& config, const char* key) {
  return bias == Bias::kAll || (bias == Bias::kByKey && BoolOr(config, key, false));
}

// Gemma 2's cap takes a second sweep over the logits.
bool CapsLogits(const nlohmann::ordered_json& config) {
  constexpr char kKey[] = "final_logit_softcapping";
  if (config.contains(kKey)) return config[kKey].is_number() && config[kKey].get<double>() != 0;
  return config.value("model_type", "") == "gemma2";
}

StatusOr<Row> RowOf(const nlohmann::ordered_json& config) {
  const std::string type = config.value("model_type", "");
  std::string known;
  for (const Row& row : Rows()) {
    if (type == row.model_type) return row;
    known += (known.empty() ? "" : ", ") + std::string(row.model_type);
  }
  return Unimplemented("no plan for model_type '{}'; there is one for {}", type, known);
}

Status CheckDims(const ModelShape& shape, const Keys& keys) {
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
  return OkStatus();
}

}  // namespace

int64_t ModelShape::parameter_count() const {
  const int64_t norm = (family.layer_norm ? 2 : 1) * hidden_size;
  const int64_t norms_of_a_half = family.norm_place == NormPlace::kAround ? 2 : 1;
  const int64_t block = 2 * norms_of_a_half * norm + Linear(hidden_size, qkv_width(), qkv_bias) +
                        (family.query_key_norm ? 2 * head_width : 0) +
                        Linear(attention_width(), hidden_size, attention_out_bias) +
                        Linear(hidden_size, mlp_in_width(), mlp_bias) +
                        Linear(mlp_width, hidden_size, mlp_bias);
  const int64_t embeddings = vocab_size * hidden_size * (tie_embeddings ? 1 : 2) +
                             (family.learned_positions ? max_positions * hidden_size : 0) +
                             type_vocab_size * hidden_size;
  // A masked model has its norm after the embeddings, and one more in its head.
  const int64_t head =
      family.masked_head ? Linear(hidden_size, hidden_size, true) + norm + vocab_size : 0;
  return embeddings + layers * block + norm + head;
}

int64_t ModelShape::multiplying_parameters() const {
  const int64_t looked_up = (tie_embeddings ? 0 : vocab_size * hidden_size) +
                            (family.learned_positions ? max_positions * hidden_size : 0) +
                            type_vocab_size * hidden_size;
  return parameter_count() - looked_up;
}

StatusOr<ModelShape> ModelShapeFromConfig(const nlohmann::ordered_json& config,
                                          int64_t vocab_size) {
  ASSIGN_OR_RETURN(const Row row, RowOf(config));
  if (CapsLogits(config)) return Unimplemented("no plan for models that cap their logits");
  const Keys& keys = row.keys;
  ModelShape shape{.family = row.family};
  shape.vocab_size = IntOr(config, "vocab_size", vocab_size);
  shape.hidden_size = IntOr(config, keys.hidden_size, 0);
  shape.layers = IntOr(config, keys.layers, 0);
  shape.heads = IntOr(config, keys.heads, 0);
  const bool own_keys = row.family.learned_positions;  // every head has
  shape.kv_heads = own_keys ? shape.heads : IntOr(config, "num_key_value_heads", shape.heads);
  shape.head_width = row.head_width;
  if (shape.head_width == 0 && shape.heads > 0) shape.head_width = shape.hidden_size / shape.heads;
  if (!own_keys) shape.head_width = IntOr(config, "head_dim", shape.head_width);
  shape.mlp_width =
      IntOr(config, keys.mlp_width, row.family.in_out_weights ? 4 * shape.hidden_size : 0);
  shape.max_positions = IntOr(config, keys.max_positions, row.max_positions);
  if (row.family.token_types) shape.type_vocab_size = IntOr(config, "type_vocab_size", 2);
  shape.qkv_bias = HasBias(row.qkv_bias, config, "attention_bias");
  shape.attention_out_bias = HasBias(row.attention_out_bias, config, "attention_bias");
  shape.mlp_bias = HasBias(row.mlp_bias, config, "mlp_bias");
  shape.tie_embeddings = BoolOr(config, "tie_word_embeddings", row.tied);
  RETURN_IF_ERROR(CheckDims(shape, keys));
  return shape;
}

}  // namespace trainyard::plan

#include "worker/model/config.h"

#include <cmath>
#include <limits>
#include <vector>

#include "worker/model/layout.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

// A family is a row: its choices, and what Hugging Face calls its fields.
struct FamilyRow {
  std::string model_type;
  std::string architecture;
  NormKind norm;
  PositionKind position;
  MlpKind mlp;
  bool biases;
  bool tie_by_default;
  std::string activation_key, activation;
  std::string hidden_size, layers, heads, mlp_width, max_positions, norm_epsilon;
};

const std::vector<FamilyRow>& FamilyTable() {
  static const std::vector<FamilyRow> kTable = {
      {"llama", "LlamaForCausalLM", NormKind::kRms, PositionKind::kRope, MlpKind::kSwiGlu,
       /*biases=*/false, /*tie_by_default=*/false, "hidden_act", "silu", "hidden_size",
       "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
       "rms_norm_eps"},
      {"gpt2", "GPT2LMHeadModel", NormKind::kLayer, PositionKind::kLearned, MlpKind::kGeluTanh,
       /*biases=*/true, /*tie_by_default=*/true, "activation_function", "gelu_new", "n_embd",
       "n_layer", "n_head", "n_inner", "n_positions", "layer_norm_epsilon"},
  };
  return kTable;
}

StatusOr<FamilyRow> RowOf(const std::string& model_type) {
  std::string known;
  for (const FamilyRow& row : FamilyTable()) {
    if (row.model_type == model_type) return row;
    known += (known.empty() ? "" : ", ") + row.model_type;
  }
  return InvalidArgument("model_type '{}' is not known; known are: {}", model_type, known);
}

bool IsSet(const json& config, const std::string& key) {
  return config.contains(key) && !config.at(key).is_null();
}

// Reads one key into `value`; a missing or null one leaves the default.
template <class Int>
Status ReadInt(const json& config, const std::string& key, Int& value) {
  if (!IsSet(config, key)) return OkStatus();
  const json& field = config.at(key);
  if (!field.is_number_integer() ||
      (field.is_number_unsigned() && field.get<uint64_t>() > uint64_t{1} << 31)) {
    return InvalidArgument("{} must be a whole number below 2^31, got {}", key, field.dump());
  }
  const auto number = field.get<int64_t>();
  if (number < std::numeric_limits<int32_t>::min() ||
      number > std::numeric_limits<int32_t>::max()) {
    return InvalidArgument("{} must be a whole number below 2^31, got {}", key, number);
  }
  value = static_cast<Int>(number);
  return OkStatus();
}
Status ReadNumber(const json& config, const std::string& key, double& value) {
  if (!IsSet(config, key)) return OkStatus();
  if (!config.at(key).is_number()) {
    return InvalidArgument("{} must be a number, got {}", key, config.at(key).dump());
  }
  value = config.at(key).get<double>();
  return OkStatus();
}
Status ReadBool(const json& config, const std::string& key, bool& value) {
  if (!IsSet(config, key)) return OkStatus();
  if (!config.at(key).is_boolean()) {
    return InvalidArgument("{} must be true or false, got {}", key, config.at(key).dump());
  }
  value = config.at(key).get<bool>();
  return OkStatus();
}
// transformers allows a list of end ids; ours is the first.
Status ReadId(const json& config, const std::string& key, int32_t& value) {
  if (IsSet(config, key) && config.at(key).is_array()) {
    const json& list = config.at(key);
    if (list.empty()) return OkStatus();
    return ReadInt(json{{key, list.at(0)}}, key, value);
  }
  return ReadInt(config, key, value);
}

Status RequireValue(const json& config, const std::string& key, const json& wanted) {
  if (!IsSet(config, key) || config.at(key) == wanted) return OkStatus();
  return InvalidArgument("{} = {} is not supported; only {} is", key, config.at(key).dump(),
                         wanted.dump());
}

// Old files say rope_theta and rope_scaling, transformers 5 says rope_parameters.
Status ReadRope(const json& config, ModelConfig& model) {
  RETURN_IF_ERROR(ReadNumber(config, "rope_theta", model.rope_theta));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!IsSet(config, key)) continue;
    const json& rope = config.at(key);
    if (!rope.is_object()) return InvalidArgument("{} must be an object, got {}", key, rope.dump());
    const json kind = rope.value("rope_type", rope.value("type", json("default")));
    if (kind != "default") {
      return InvalidArgument("{}.rope_type = {} is not supported; only \"default\" is", key,
                             kind.dump());
    }
    RETURN_IF_ERROR(ReadNumber(rope, "rope_theta", model.rope_theta));
  }
  return OkStatus();
}

Status ReadLlama(const json& config, ModelConfig& model) {
  model.norm_epsilon = 1e-6;
  model.max_positions = 2048;
  model.kv_heads = model.heads;
  RETURN_IF_ERROR(ReadInt(config, "num_key_value_heads", model.kv_heads));
  RETURN_IF_ERROR(ReadInt(config, "head_dim", model.head_width));
  RETURN_IF_ERROR(RequireValue(config, "attention_bias", false));
  RETURN_IF_ERROR(RequireValue(config, "mlp_bias", false));
  return ReadRope(config, model);
}

Status ReadGpt2(const json& config, ModelConfig& model) {
  model.norm_epsilon = 1e-5;
  model.max_positions = 1024;
  model.kv_heads = model.heads;
  model.mlp_width = 4 * model.hidden_size;
  RETURN_IF_ERROR(RequireValue(config, "scale_attn_weights", true));
  RETURN_IF_ERROR(RequireValue(config, "scale_attn_by_inverse_layer_idx", false));
  return RequireValue(config, "add_cross_attention", false);
}

}  // namespace

StatusOr<ModelConfig> WithFamily(ModelConfig config) {
  ASSIGN_OR_RETURN(const FamilyRow row, RowOf(config.model_type));
  config.norm = row.norm;
  config.position = row.position;
  config.mlp = row.mlp;
  config.biases = row.biases;
  return config;
}

Status ValidateModelConfig(const ModelConfig& config) {
  ASSIGN_OR_RETURN(const FamilyRow row, RowOf(config.model_type));
  const std::pair<std::string, int64_t> positive[] = {{"vocab_size", config.vocab_size},
                                                      {row.hidden_size, config.hidden_size},
                                                      {row.layers, config.layers},
                                                      {row.heads, config.heads},
                                                      {"num_key_value_heads", config.kv_heads},
                                                      {"head_dim", config.head_width},
                                                      {row.mlp_width, config.mlp_width},
                                                      {row.max_positions, config.max_positions}};
  constexpr int64_t kDimMax = int64_t{1} << 24;  // a bound on nonsense; products stay in int64
  for (const auto& [key, value] : positive) {
    if (value < 1 || value > kDimMax) {
      return InvalidArgument("{} must be between 1 and {}, got {}", key, kDimMax, value);
    }
  }
  if (config.heads % config.kv_heads != 0) {
    return InvalidArgument("num_key_value_heads = {} must divide {} = {}", config.kv_heads,
                           row.heads, config.heads);
  }
  if (config.position == PositionKind::kRope && config.head_width % 2 != 0) {
    return InvalidArgument("head_dim = {} must be even: rotary embedding pairs its elements",
                           config.head_width);
  }
  if (row.model_type == "gpt2" &&
      (config.kv_heads != config.heads || config.heads * config.head_width != config.hidden_size)) {
    return InvalidArgument("{} = {} must divide {} = {}, and every head has its own keys",
                           row.heads, config.heads, row.hidden_size, config.hidden_size);
  }
  if (!(config.norm_epsilon > 0) || !(config.rope_theta > 0) || !(config.initializer_range >= 0)) {
    return InvalidArgument(
        "{} = {} and rope_theta = {} must be above 0, initializer_range = {} not below it",
        row.norm_epsilon, config.norm_epsilon, config.rope_theta, config.initializer_range);
  }
  for (const int32_t id : {config.bos_id, config.eos_id}) {
    if (id >= config.vocab_size) {
      return InvalidArgument("token id {} is outside the vocabulary of {}", id, config.vocab_size);
    }
  }
  return OkStatus();
}

int64_t ModelConfig::parameter_count() const {
  int64_t count = 0;
  for (const ParameterSpec& spec : ParameterLayout(*this)) count += spec.count;
  return count;
}

StatusOr<ModelConfig> ModelConfigFromJson(const json& config) {
  if (!config.is_object() || !IsSet(config, "model_type") || !config.at("model_type").is_string()) {
    return InvalidArgument("a model's config must be an object with the text field model_type");
  }
  ModelConfig model;
  model.model_type = config.at("model_type").get<std::string>();
  ASSIGN_OR_RETURN(const FamilyRow row, RowOf(model.model_type));
  ASSIGN_OR_RETURN(model, WithFamily(std::move(model)));
  RETURN_IF_ERROR(ReadInt(config, "vocab_size", model.vocab_size));
  RETURN_IF_ERROR(ReadInt(config, row.hidden_size, model.hidden_size));
  RETURN_IF_ERROR(ReadInt(config, row.layers, model.layers));
  RETURN_IF_ERROR(ReadInt(config, row.heads, model.heads));
  if (model.heads > 0 && model.hidden_size % model.heads == 0) {
    model.head_width = model.hidden_size / model.heads;
  } else if (!IsSet(config, "head_dim")) {
    return InvalidArgument("{} = {} must divide {} = {}", row.heads, model.heads, row.hidden_size,
                           model.hidden_size);
  }
  RETURN_IF_ERROR(model.model_type == "gpt2" ? ReadGpt2(config, model) : ReadLlama(config, model));
  RETURN_IF_ERROR(ReadInt(config, row.mlp_width, model.mlp_width));
  RETURN_IF_ERROR(ReadInt(config, row.max_positions, model.max_positions));
  RETURN_IF_ERROR(ReadNumber(config, row.norm_epsilon, model.norm_epsilon));
  RETURN_IF_ERROR(ReadNumber(config, "initializer_range", model.initializer_range));
  model.tie_embeddings = row.tie_by_default;
  RETURN_IF_ERROR(ReadBool(config, "tie_word_embeddings", model.tie_embeddings));
  RETURN_IF_ERROR(ReadId(config, "bos_token_id", model.bos_id));
  RETURN_IF_ERROR(ReadId(config, "eos_token_id", model.eos_id));
  RETURN_IF_ERROR(RequireValue(config, row.activation_key, row.activation));
  RETURN_IF_ERROR(ValidateModelConfig(model));
  return model;
}

nlohmann::ordered_json ModelConfigToJson(const ModelConfig& model) {
  const StatusOr<FamilyRow> found = RowOf(model.model_type);
  if (!found.ok()) return nlohmann::ordered_json::object();
  const FamilyRow& row = *found;
  using Json = nlohmann::ordered_json;
  const auto id = [](int32_t token) { return token < 0 ? Json() : Json(token); };
  nlohmann::ordered_json config = {{"architectures", Json::array({row.architecture})},
                                   {"model_type", row.model_type},
                                   {"vocab_size", model.vocab_size},
                                   {row.hidden_size, model.hidden_size},
                                   {row.layers, model.layers},
                                   {row.heads, model.heads},
                                   {row.mlp_width, model.mlp_width},
                                   {row.max_positions, model.max_positions},
                                   {row.norm_epsilon, model.norm_epsilon},
                                   {row.activation_key, row.activation},
                                   {"initializer_range", model.initializer_range},
                                   {"tie_word_embeddings", model.tie_embeddings},
                                   {"bos_token_id", id(model.bos_id)},
                                   {"eos_token_id", id(model.eos_id)}};
  if (row.position == PositionKind::kRope) {
    config["num_key_value_heads"] = model.kv_heads;
    config["head_dim"] = model.head_width;
    config["attention_bias"] = false;
    config["mlp_bias"] = false;
    config["rope_theta"] = model.rope_theta;
    config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", model.rope_theta}};
  } else {
    // transformers defaults these to 0.1; this model has no dropout.
    for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"}) config[key] = 0.0;
  }
  return config;
}

}  // namespace trainyard::worker

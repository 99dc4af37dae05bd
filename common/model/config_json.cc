// config.json to ModelConfig and back: common keys by the family's names for them, then what
// single families add.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/model/config.h"
#include "common/model/config_keys.h"
#include "common/model/json_fields.h"

namespace trainyard {
namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json;

constexpr char kFull[] = "full_attention", kSliding[] = "sliding_attention";
// A bidirectional window reaches its size to each side, the token itself not counted.
constexpr int64_t kItself = 1;
constexpr double kGemmaLocalTheta = 10000.0;
constexpr double kGemma3Theta = 1e6;

bool IsGemma(const ModelConfig& model) { return model.family().norm_offset != 0; }
bool IsGemma3(const ModelConfig& model) { return model.model_type == "gemma3_text"; }
bool IsQwen(const ModelConfig& model) { return model.model_type.starts_with("qwen"); }

// transformers allows a list of end ids; ours is the first. One that is left out is the family's,
// if the vocabulary has it.
Status ReadId(const json& config, const std::string& key, int64_t vocab_size, int32_t& value) {
  if (!config.contains(key)) {
    if (value >= vocab_size) value = -1;
    return OkStatus();
  }
  value = -1;
  if (IsSet(config, key) && config.at(key).is_array()) {
    const json& list = config.at(key);
    if (list.empty()) return OkStatus();
    return ReadInt(json{{key, list.at(0)}}, key, value);
  }
  return ReadInt(config, key, value);
}

// A size: the family's when it is left out, none when it is null.
Status ReadSize(const json& config, const std::string& key, int64_t& value) {
  if (config.contains(key)) value = 0;
  return ReadInt(config, key, value);
}

Status ReadActivation(const json& config, const Family& family) {
  const std::string& key = family.keys.activation;
  // Gemma's first files say hidden_act, and mean the other key's value whatever it is.
  if (!IsSet(config, key)) return OkStatus();
  for (const std::string& name : family.activations) {
    if (config.at(key) == name) return OkStatus();
  }
  return InvalidArgument("{} = {} is not supported; only {} is", key, config.at(key).dump(),
                         family.activations[0]);
}

// How many layers see only their window, by the keys of each family's transformers config.
StatusOr<std::vector<bool>> SlidingLayers(const json& config, const ModelConfig& model) {
  std::vector<bool> sliding(static_cast<size_t>(model.layers));
  if (IsSet(config, "layer_types") && (IsGemma(model) || IsQwen(model))) {
    const json& types = config.at("layer_types");
    if (!types.is_array() || types.size() != sliding.size()) {
      return InvalidArgument("layer_types must be a list of {} = {} entries",
                             model.family().keys.layers, model.layers);
    }
    for (size_t i = 0; i < sliding.size(); ++i) {
      if (types[i] != kFull && types[i] != kSliding) {
        return InvalidArgument("layer_types[{}] = {} is not supported; {} and {} are", i,
                               types[i].dump(), kFull, kSliding);
      }
      sliding[i] = types[i] == kSliding;
    }
    return sliding;
  }
  int64_t first = 0,
          full_every = 0;  // layer i slides from `first` on unless full_every divides i+1
  if (IsQwen(model)) {
    first = 28;
    RETURN_IF_ERROR(ReadInt(config, "max_window_layers", first));
  } else if (IsGemma(model)) {
    full_every = IsGemma3(model) ? 6 : 2;
    if (IsGemma3(model)) RETURN_IF_ERROR(ReadInt(config, "sliding_window_pattern", full_every));
    if (full_every < 1) return InvalidArgument("sliding_window_pattern must be above 0");
  }
  for (int64_t i = 0; i < model.layers; ++i) {
    sliding[static_cast<size_t>(i)] = i >= first && (full_every == 0 || (i + 1) % full_every != 0);
  }
  return sliding;
}

Status ReadWindows(const json& config, ModelConfig& model) {
  int64_t window = model.family().defaults.sliding_window;
  if (IsGemma(model) && config.contains("sliding_window") && config["sliding_window"].is_null()) {
    return InvalidArgument(
        "sliding_window = null is refused for a Gemma, as transformers does; one without windows "
        "says so by layer_types, {} for each layer",
        kFull);
  }
  RETURN_IF_ERROR(ReadSize(config, "sliding_window", window));
  bool both_ways = false;
  if (IsGemma3(model)) {
    RETURN_IF_ERROR(ReadBool(config, "use_bidirectional_attention", both_ways));
    // Its two halves and the token itself.
    if (both_ways && window > 0) window = window / 2 + kItself;
  }
  if (!model.is_causal() && window > 0) window += kItself;
  if (both_ways) model.causal = false;
  if (IsQwen(model)) {
    bool used = false;
    RETURN_IF_ERROR(ReadBool(config, "use_sliding_window", used));
    if (!used) window = 0;
  }
  const bool can_slide = IsQwen(model) || IsGemma(model) || model.model_type == "mistral";
  if (!can_slide || (window == 0 && !IsGemma3(model))) return OkStatus();
  if (window < 0) return InvalidArgument("sliding_window must be above 0, got {}", window);
  ASSIGN_OR_RETURN(const std::vector<bool> sliding, SlidingLayers(config, model));
  for (const bool slides : sliding) {
    model.attention.push_back(
        {.window = slides ? window : 0, .is_local = slides && IsGemma3(model)});
  }
  // Layers that all see everything are what a model without the keys has.
  const auto sees_all = [](const LayerAttention& l) { return l.window == 0 && !l.is_local; };
  if (std::all_of(model.attention.begin(), model.attention.end(), sees_all))
    model.attention.clear();
  return OkStatus();
}

Status ReadGemma(const json& config, ModelConfig& model) {
  model.query_scale = 256;
  if (!IsGemma3(model)) model.attention_softcap = 50, model.logit_softcap = 30;
  RETURN_IF_ERROR(ReadNumber(config, "query_pre_attn_scalar", model.query_scale));
  const auto softcap = [&](const char* key, double& value) {
    if (config.contains(key) && config.at(key).is_null()) value = 0;
    return ReadNumber(config, key, value);
  };
  // Gemma 3's class has the key too, and its attention does nothing with it.
  if (!IsGemma3(model)) {
    RETURN_IF_ERROR(softcap("attn_logit_softcapping", model.attention_softcap));
  }
  return softcap("final_logit_softcapping", model.logit_softcap);
}

Status ReadRopes(const json& config, ModelConfig& model) {
  if (!IsGemma3(model)) return ReadRope(config, model.max_positions, model.rope);
  model.rope.theta = kGemma3Theta;
  model.local_rope.theta = kGemmaLocalTheta;
  return ReadLayeredRope(config, model.max_positions, model.rope, model.local_rope);
}

// transformers masks every decoder by it.
Status ReadIsCausal(const json& config, ModelConfig& model) {
  bool is_causal = true;
  RETURN_IF_ERROR(ReadBool(config, "is_causal", is_causal));
  if (!is_causal) model.causal = false;
  return OkStatus();
}

Status ReadDecoder(const json& config, ModelConfig& model) {
  RETURN_IF_ERROR(ReadIsCausal(config, model));
  if (model.family().qkv_bias == Bias::kByKey) {
    RETURN_IF_ERROR(ReadBool(config, "attention_bias", model.qkv_bias));
    model.attention_out_bias = model.qkv_bias;
  }
  if (model.family().mlp_bias == Bias::kByKey) {
    RETURN_IF_ERROR(ReadBool(config, "mlp_bias", model.mlp_bias));
  }
  if (IsGemma(model)) RETURN_IF_ERROR(ReadGemma(config, model));
  RETURN_IF_ERROR(ReadWindows(config, model));
  return ReadRopes(config, model);
}

Status ReadGpt2(const json& config, ModelConfig& model) {
  RETURN_IF_ERROR(ReadIsCausal(config, model));
  bool scales = true;
  RETURN_IF_ERROR(ReadBool(config, "scale_attn_weights", scales));
  if (!scales) model.query_scale = 1;
  return ReadBool(config, "scale_attn_by_inverse_layer_idx", model.scale_by_layer);
}

// A bare model's folder names a class that ends in Model: it has no head.
bool NamesABareModel(const json& config) {
  if (!IsSet(config, "architectures") || !config.at("architectures").is_array()) return false;
  return std::any_of(config.at("architectures").begin(), config.at("architectures").end(),
                     [](const json& name) {
                       return name.is_string() && name.get<std::string>().ends_with("Model") &&
                              !name.get<std::string>().ends_with("HeadModel");
                     });
}

Status ReadEncoder(const json& config, ModelConfig& model) {
  if (model.family().positions_after_pad) model.first_position = model.pad_id + 1;
  if (!model.family().names.type_embedding.empty()) {
    model.type_vocab_size = 2;
    RETURN_IF_ERROR(ReadInt(config, "type_vocab_size", model.type_vocab_size));
  }
  model.has_head = !NamesABareModel(config);
  if (model.model_type == "distilbert") return OkStatus();
  bool is_decoder = false, is_causal = false;
  RETURN_IF_ERROR(ReadBool(config, "is_decoder", is_decoder));
  RETURN_IF_ERROR(ReadBool(config, "is_causal", is_causal));
  // transformers' eager attention looks both ways then, and its default one only back.
  if (is_causal && !is_decoder) {
    return InvalidArgument("is_causal = true without is_decoder = true is not supported for {}",
                           model.model_type);
  }
  if (is_decoder && (is_causal || !IsSet(config, "is_causal"))) model.causal = true;
  return OkStatus();
}

Status ReadFamilysOwn(const json& config, ModelConfig& model) {
  const Family& family = model.family();
  if (family.position == PositionKind::kRope) return ReadDecoder(config, model);
  return family.causal ? ReadGpt2(config, model) : ReadEncoder(config, model);
}

json WithoutAliases(json config, const Family& family) {
  for (const auto& [alias, key] : family.keys.aliases) {
    if (config.contains(alias)) config[key] = config[alias];
  }
  return config;
}

StatusOr<ModelConfig> Defaults(std::string model_type) {
  ModelConfig model;
  model.model_type = std::move(model_type);
  ASSIGN_OR_RETURN(model, WithFamily(std::move(model)));
  const ConfigDefaults& defaults = model.family().defaults;
  model.vocab_size = defaults.vocab_size;
  model.hidden_size = defaults.hidden_size;
  model.layers = defaults.layers;
  model.heads = defaults.heads;
  model.mlp_width = defaults.mlp_width;
  model.norm_epsilon = defaults.norm_epsilon;
  model.max_positions = defaults.max_positions;
  model.tie_embeddings = defaults.tie_embeddings;
  model.bos_id = defaults.bos_id;
  model.eos_id = defaults.eos_id;
  model.pad_id = defaults.pad_id;
  return model;
}

Status ReadHeads(const json& config, ModelConfig& model) {
  const Family& family = model.family();
  RETURN_IF_ERROR(ReadSize(config, family.keys.heads, model.heads));
  if (family.position == PositionKind::kRope) {
    model.kv_heads = family.defaults.kv_heads;
    RETURN_IF_ERROR(ReadSize(config, "num_key_value_heads", model.kv_heads));
    model.head_width = family.defaults.head_width;
    RETURN_IF_ERROR(ReadInt(config, "head_dim", model.head_width));
  }
  if (model.kv_heads == 0) model.kv_heads = model.heads;
  if (model.head_width != 0) return OkStatus();
  if (model.heads < 1 || model.hidden_size % model.heads != 0) {
    return InvalidArgument("{} = {} must divide {} = {}", family.keys.heads, model.heads,
                           family.keys.hidden_size, model.hidden_size);
  }
  model.head_width = model.hidden_size / model.heads;
  return OkStatus();
}

Status ReadSizes(const json& config, ModelConfig& model) {
  const ConfigKeys& keys = model.family().keys;
  RETURN_IF_ERROR(ReadSize(config, "vocab_size", model.vocab_size));
  RETURN_IF_ERROR(ReadSize(config, keys.hidden_size, model.hidden_size));
  RETURN_IF_ERROR(ReadSize(config, keys.layers, model.layers));
  RETURN_IF_ERROR(ReadSize(config, keys.max_positions, model.max_positions));
  RETURN_IF_ERROR(ReadHeads(config, model));
  // GPT-2's is four times the width where it is null.
  if (model.family().defaults.mlp_width == 0) {
    model.mlp_width = 4 * model.hidden_size;
    return ReadInt(config, keys.mlp_width, model.mlp_width);
  }
  return ReadSize(config, keys.mlp_width, model.mlp_width);
}

Status ReadIds(const json& config, ModelConfig& model) {
  for (const auto& [key, id] :
       {std::pair{"bos_token_id", &model.bos_id}, std::pair{"eos_token_id", &model.eos_id},
        std::pair{"pad_token_id", &model.pad_id}}) {
    RETURN_IF_ERROR(ReadId(config, key, model.vocab_size, *id));
  }
  return OkStatus();
}

void WriteDecoder(const ModelConfig& model, Json& config) {
  config["num_key_value_heads"] = model.kv_heads;
  config["head_dim"] = model.head_width;
  const Family& family = model.family();
  if (!model.is_causal()) config["is_causal"] = false;
  if (family.qkv_bias == Bias::kByKey) config["attention_bias"] = model.qkv_bias;
  if (family.mlp_bias == Bias::kByKey) config["mlp_bias"] = model.mlp_bias;
  if (!IsGemma3(model)) {
    config["rope_theta"] = model.rope.theta;
    config["rope_parameters"] = RopeParametersJson(model.rope);
  } else {
    config["rope_parameters"] = {{kFull, RopeParametersJson(model.rope)},
                                 {kSliding, RopeParametersJson(model.local_rope)}};
  }
  if (IsGemma(model)) {
    const auto or_null = [](double value) { return value == 0 ? Json() : Json(value); };
    config["query_pre_attn_scalar"] = static_cast<int64_t>(model.query_scale);
    config["attn_logit_softcapping"] = or_null(model.attention_softcap);
    config["final_logit_softcapping"] = or_null(model.logit_softcap);
  }
  int64_t window = 0;
  Json types = Json::array();
  for (const LayerAttention& layer : model.attention) {
    window = std::max(window, layer.window);
    types.push_back(layer.window > 0 || layer.is_local ? kSliding : kFull);
  }
  if (!model.is_causal() && window > 0) window -= kItself;
  // Mistral's default is a window; a Gemma without one says so by its layers.
  if (window > 0) config["sliding_window"] = window;
  if (window == 0 && model.model_type == "mistral") config["sliding_window"] = nullptr;
  if (IsGemma(model) && types.empty()) types = std::vector<std::string>(model.layers, kFull);
  if (IsQwen(model)) config["use_sliding_window"] = window > 0;
  if (!types.empty() && model.model_type != "mistral") config["layer_types"] = types;
}

void WriteLearnedPositions(const ModelConfig& model, Json& config) {
  // transformers defaults these to 0.1; this model has no dropout.
  const std::vector<const char*> dropouts =
      model.family().causal ? std::vector{"resid_pdrop", "embd_pdrop", "attn_pdrop"}
      : model.model_type == "distilbert"
          ? std::vector{"dropout", "attention_dropout"}
          : std::vector{"hidden_dropout_prob", "attention_probs_dropout_prob"};
  for (const char* key : dropouts) config[key] = 0.0;
  if (model.is_causal() != model.family().causal) {
    config[model.family().causal ? "is_causal" : "is_decoder"] = !model.family().causal;
  }
  if (model.query_scale == 1) config["scale_attn_weights"] = false;
  if (model.scale_by_layer) config["scale_attn_by_inverse_layer_idx"] = true;
  if (model.type_vocab_size > 0) config["type_vocab_size"] = model.type_vocab_size;
}

}  // namespace

StatusOr<ModelConfig> ModelConfigFromJson(const json& given) {
  if (!given.is_object() || !IsSet(given, "model_type") || !given.at("model_type").is_string()) {
    return InvalidArgument("model_type must be a text in an object of fields");
  }
  ASSIGN_OR_RETURN(ModelConfig model, Defaults(given.at("model_type").get<std::string>()));
  const Family& family = model.family();
  RETURN_IF_ERROR(CheckConfigKeys(given, family));
  const json config = WithoutAliases(given, family);
  RETURN_IF_ERROR(ReadSizes(config, model));
  RETURN_IF_ERROR(ReadIds(config, model));
  RETURN_IF_ERROR(ReadFamilysOwn(config, model));
  if (!family.keys.norm_epsilon.empty()) {
    RETURN_IF_ERROR(ReadNumber(config, family.keys.norm_epsilon, model.norm_epsilon));
  }
  RETURN_IF_ERROR(ReadNumber(config, "initializer_range", model.initializer_range));
  RETURN_IF_ERROR(ReadBool(config, "tie_word_embeddings", model.tie_embeddings));
  RETURN_IF_ERROR(ReadActivation(config, family));
  RETURN_IF_ERROR(ValidateModelConfig(model));
  return model;
}

Json ModelConfigToJson(const ModelConfig& model) {
  const Family& family = model.family();
  const ConfigKeys& keys = family.keys;
  const auto id = [](int32_t token) { return token < 0 ? Json() : Json(token); };
  std::string architecture = family.architecture;
  if (!model.has_head) architecture.replace(architecture.find("For"), std::string::npos, "Model");
  Json config = {{"architectures", Json::array({architecture})},
                 {"model_type", family.model_type},
                 {"vocab_size", model.vocab_size},
                 {keys.hidden_size, model.hidden_size},
                 {keys.layers, model.layers},
                 {keys.heads, model.heads},
                 {keys.mlp_width, model.mlp_width},
                 {keys.max_positions, model.max_positions},
                 {keys.activation, family.activations[0]},
                 {"initializer_range", model.initializer_range},
                 {"tie_word_embeddings", model.tie_embeddings},
                 {"bos_token_id", id(model.bos_id)},
                 {"eos_token_id", id(model.eos_id)}};
  if (!keys.norm_epsilon.empty()) config[keys.norm_epsilon] = model.norm_epsilon;
  if (!family.causal || model.pad_id >= 0 || family.defaults.pad_id >= 0)
    config["pad_token_id"] = id(model.pad_id);
  if (family.position == PositionKind::kRope) {
    WriteDecoder(model, config);
  } else {
    WriteLearnedPositions(model, config);
  }
  return config;
}

}  // namespace trainyard

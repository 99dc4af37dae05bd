#include "common/model/config.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/model/layout.h"
#include "common/require.h"

namespace trainyard {

const Family& ModelConfig::family() const {
  const StatusOr<const Family*> found = FindFamily(model_type);
  REQUIRE(found.ok());  // ModelConfigFromJson and Validate let no other type through
  return **found;
}

LayerAttention ModelConfig::attention_of(int64_t layer) const {
  return attention.empty() ? LayerAttention{} : attention[static_cast<size_t>(layer)];
}

bool ModelConfig::has_local_rope() const {
  return std::any_of(attention.begin(), attention.end(),
                     [](const LayerAttention& layer) { return layer.is_local; });
}

int64_t ModelConfig::parameter_count() const {
  int64_t count = 0;
  for (const ParameterSpec& spec : ParameterLayout(*this)) count += spec.count;
  return count;
}

StatusOr<ModelConfig> WithFamily(ModelConfig config) {
  ASSIGN_OR_RETURN(const Family* family, FindFamily(config.model_type));
  const auto settle = [](Bias bias, bool& has) {
    if (bias != Bias::kByKey) has = bias == Bias::kAll;
  };
  settle(family->qkv_bias, config.qkv_bias);
  settle(family->attention_out_bias, config.attention_out_bias);
  settle(family->mlp_bias, config.mlp_bias);
  return config;
}

namespace {

Status ValidateSizes(const ModelConfig& config, const Family& family) {
  const ConfigKeys& keys = family.keys;
  const std::pair<std::string, int64_t> positive[] = {{"vocab_size", config.vocab_size},
                                                      {keys.hidden_size, config.hidden_size},
                                                      {keys.layers, config.layers},
                                                      {keys.heads, config.heads},
                                                      {"num_key_value_heads", config.kv_heads},
                                                      {"head_dim", config.head_width},
                                                      {keys.mlp_width, config.mlp_width},
                                                      {keys.max_positions, config.max_positions}};
  constexpr int64_t kDimMax = int64_t{1} << 24;  // a bound on nonsense; products stay in int64
  for (const auto& [key, value] : positive) {
    if (value < 1 || value > kDimMax) {
      return InvalidArgument("{} must be between 1 and {}, got {}", key, kDimMax, value);
    }
  }
  if (config.first_position < 0 || config.max_length() < 1) {
    return InvalidArgument("{} = {} leaves no place for a token: places begin at {}",
                           keys.max_positions, config.max_positions, config.first_position);
  }
  if (!family.names.type_embedding.empty() &&
      (config.type_vocab_size < 1 || config.type_vocab_size > kDimMax)) {
    return InvalidArgument("type_vocab_size must be between 1 and {}, got {}", kDimMax,
                           config.type_vocab_size);
  }
  return OkStatus();
}

Status ValidateHeads(const ModelConfig& config, const Family& family) {
  if (config.heads % config.kv_heads != 0) {
    return InvalidArgument("num_key_value_heads = {} must divide {} = {}", config.kv_heads,
                           family.keys.heads, config.heads);
  }
  if (family.position == PositionKind::kRope && config.head_width % 2 != 0) {
    return InvalidArgument("head_dim = {} must be even: rotary embedding pairs its elements",
                           config.head_width);
  }
  if (family.position == PositionKind::kLearned &&
      (config.kv_heads != config.heads || config.query_width() != config.hidden_size)) {
    return InvalidArgument("{} = {} must divide {} = {}, and every head has its own keys",
                           family.keys.heads, config.heads, family.keys.hidden_size,
                           config.hidden_size);
  }
  if (!config.attention.empty() && std::ssize(config.attention) != config.layers) {
    return InvalidArgument("layer_types has {} entries for {} = {}", config.attention.size(),
                           family.keys.layers, config.layers);
  }
  for (const LayerAttention& layer : config.attention) {
    if (layer.window < 0) return InvalidArgument("sliding_window must be above 0");
  }
  return OkStatus();
}

}  // namespace

Status ValidateModelConfig(const ModelConfig& config) {
  ASSIGN_OR_RETURN(const Family* family, FindFamily(config.model_type));
  RETURN_IF_ERROR(ValidateSizes(config, *family));
  RETURN_IF_ERROR(ValidateHeads(config, *family));
  if (!(config.norm_epsilon > 0) || !(config.rope.theta > 0) || !(config.local_rope.theta > 0) ||
      !(config.initializer_range >= 0)) {
    return InvalidArgument(
        "rope_theta = {} and {} = {} must be above 0, initializer_range = {} not below it",
        config.rope.theta, family->keys.norm_epsilon, config.norm_epsilon,
        config.initializer_range);
  }
  if (!(config.query_scale >= 0) || !(config.attention_softcap >= 0) ||
      !(config.logit_softcap >= 0)) {
    return InvalidArgument(
        "query_pre_attn_scalar = {}, attn_logit_softcapping = {} and final_logit_softcapping = {} "
        "must not be below 0",
        config.query_scale, config.attention_softcap, config.logit_softcap);
  }
  if (!config.tie_embeddings && family->head == HeadKind::kMasked) {
    return InvalidArgument("tie_word_embeddings = false is not supported for {}",
                           config.model_type);
  }
  const std::pair<const char*, int32_t> ids[] = {{"bos_token_id", config.bos_id},
                                                 {"eos_token_id", config.eos_id},
                                                 {"pad_token_id", config.pad_id}};
  for (const auto& [key, id] : ids) {
    if (id >= config.vocab_size) {
      return InvalidArgument("{} = {} must be below vocab_size = {}", key, id, config.vocab_size);
    }
  }
  return OkStatus();
}

}  // namespace trainyard

#include "common/job_spec/fresh_model.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/job_spec/json.h"

namespace trainyard {
namespace {

// What a family's class in transformers would fill in is of its first model: none of a new one's
// sizes, and no token of its tokenizer.
void LeaveNothingToDefaults(nlohmann::json& config) {
  const auto type = config.find("model_type");
  if (type == config.end() || !type->is_string()) return;
  const auto family = FindFamily(type->get<std::string>());
  if (!family.ok()) return;
  const ConfigKeys& keys = (*family)->keys;
  std::vector<std::string> asked = {"bos_token_id",   "eos_token_id", "num_key_value_heads",
                                    keys.hidden_size, keys.layers,    keys.heads,
                                    keys.mlp_width};
  if ((*family)->defaults.pad_id < 0 || (*family)->causal) asked.push_back("pad_token_id");
  for (const std::string& key : asked) {
    const bool by_alias = std::any_of(
        keys.aliases.begin(), keys.aliases.end(),
        [&](const auto& alias) { return alias.second == key && config.contains(alias.first); });
    if (!by_alias && !config.contains(key)) config[key] = nullptr;
  }
}

}  // namespace

StatusOr<ModelConfig> FreshModelConfig(const JobSpec& spec, int64_t vocab_size,
                                       const nlohmann::json& of_tokenizer) {
  nlohmann::json json = ModelConfigJson(spec);
  if (!json.contains("vocab_size") || !json["vocab_size"].is_number_integer()) {
    json["vocab_size"] = vocab_size;
  }
  for (const auto& [key, value] : of_tokenizer.items()) json[key] = value;
  LeaveNothingToDefaults(json);
  StatusOr<ModelConfig> config = ModelConfigFromJson(json);
  if (config.ok()) return config;
  return WithField(
      MakeStatus(config.status().code(), "model.config.{}", MessageOf(config.status())),
      "model.config");
}

}  // namespace trainyard

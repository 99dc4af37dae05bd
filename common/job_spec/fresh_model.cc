#include "common/job_spec/fresh_model.h"

#include "common/job_spec/json.h"

namespace trainyard {

StatusOr<ModelConfig> FreshModelConfig(const JobSpec& spec, int64_t vocab_size,
                                       const nlohmann::json& of_tokenizer) {
  nlohmann::json json = ModelConfigJson(spec);
  if (!json.contains("vocab_size") || !json["vocab_size"].is_number_integer()) {
    json["vocab_size"] = vocab_size;
  }
  for (const auto& [key, value] : of_tokenizer.items()) json[key] = value;
  StatusOr<ModelConfig> config = ModelConfigFromJson(json);
  if (config.ok()) return config;
  return WithField(
      MakeStatus(config.status().code(), "model.config.{}", MessageOf(config.status())),
      "model.config");
}

}  // namespace trainyard

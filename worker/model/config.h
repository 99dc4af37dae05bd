// A model's shape, read from and written to a Hugging Face config.json. A family is a row of
// choices (family_table in config.cc), not a subclass.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/status.h"

namespace trainyard::worker {

enum class NormKind { kRms, kLayer };
enum class PositionKind { kRope, kLearned };
enum class MlpKind { kSwiGlu, kGeluTanh };

struct ModelConfig {
  std::string model_type = "llama";  // llama | gpt2
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_width = 0;
  int64_t mlp_width = 0;
  int64_t max_positions = 0;
  double norm_epsilon = 1e-5;
  double rope_theta = 10000.0;
  double initializer_range = 0.02;
  bool tie_embeddings = false;
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  // The family's row.
  NormKind norm = NormKind::kRms;
  PositionKind position = PositionKind::kRope;
  MlpKind mlp = MlpKind::kSwiGlu;
  bool biases = false;

  int64_t parameter_count() const;
};

// InvalidArgument naming the key and the rule when something is missing or does not fit
// (heads not dividing the width, unknown model_type, unsupported rope_scaling, ...).
StatusOr<ModelConfig> ModelConfigFromJson(const nlohmann::json& config);
// The same rules for a config that was written in code; Create and FromJson call it.
Status ValidateModelConfig(const ModelConfig& config);
// `config` with its family's row filled in (norm, position, mlp, biases); InvalidArgument for an
// unknown model_type.
StatusOr<ModelConfig> WithFamily(ModelConfig config);
// What transformers' AutoModelForCausalLM.from_pretrained needs.
nlohmann::ordered_json ModelConfigToJson(const ModelConfig& config);

}  // namespace trainyard::worker

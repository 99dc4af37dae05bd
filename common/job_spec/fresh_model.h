// The model with fresh weights that a job file's model.config describes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "common/job_spec/job_spec.h"
#include "common/model/config.h"
#include "common/status.h"

namespace trainyard {

// `vocab_size`: the tokenizer's, where model.config does not say. `of_tokenizer`: what stands in
// place of model.config's own, ids of special tokens by config.json's keys; null unsets one.
// InvalidArgument: "model.config.hidden_size must be ...".
StatusOr<ModelConfig> FreshModelConfig(const JobSpec& spec, int64_t vocab_size,
                                       const nlohmann::json& of_tokenizer);

}  // namespace trainyard

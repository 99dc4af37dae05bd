#include "common/job_spec/resolve.h"

#include <algorithm>

#include "common/job_spec/fields.h"
#include "common/job_spec/json.h"
#include "common/job_spec/presets.h"
#include "common/job_spec/validate.h"

namespace trainyard {
namespace {

// The first of these keys that the config has as a number, or `otherwise`.
double ConfigNumber(const nlohmann::ordered_json& config, std::initializer_list<const char*> keys,
                    double otherwise) {
  for (const char* key : keys) {
    if (config.contains(key) && config[key].is_number()) return config[key].get<double>();
  }
  return otherwise;
}

// Bytes that one row's activations take during forward and backward, roughly: float32; per layer
// the inputs of its products (about 12 widths and 3 inner widths a token) and the attention
// weights; once the logits and their gradient. The planner will know better.
double ActivationBytesPerRow(const JobSpec& spec) {
  const nlohmann::ordered_json config = ModelConfigJson(spec);
  const double width = ConfigNumber(config, {"hidden_size", "n_embd", "dim"}, 768);
  const double layers = ConfigNumber(config, {"num_hidden_layers", "n_layer", "n_layers"}, 12);
  const double heads = ConfigNumber(config, {"num_attention_heads", "n_head", "n_heads"}, 12);
  const double inner =
      ConfigNumber(config, {"intermediate_size", "n_inner", "hidden_dim"}, 4 * width);
  const double trained = spec.tokenizer.train ? double(spec.tokenizer.train->vocab_size) : 50257;
  const double vocab = ConfigNumber(config, {"vocab_size"}, trained);
  const auto tokens = static_cast<double>(spec.train.max_length);
  const double per_token = layers * (12 * width + 3 * inner + heads * tokens) + 2 * vocab;
  return 4 * tokens * per_token;
}

// The largest divisor of a rank's rows that is at most 16 and keeps activations below 1 GiB; on a
// GPU at most 512, and below 16 GiB.
int64_t ChooseMicroBatchSize(const JobSpec& spec) {
  // A CPU gains nothing from more than its caches take; a GPU waits for its orders on little work.
  const bool gpu = spec.resources.device == "cuda";
  const double activation_bytes = gpu ? 16.0 * (1 << 30) : 1.0 * (1 << 30);
  const int64_t rows_max = gpu ? 512 : 16;
  const int64_t rows = spec.train.global_batch_size / spec.resources.ranks;
  const double fit = activation_bytes / ActivationBytesPerRow(spec);
  int64_t chosen = 1;
  for (int64_t n = 2; n <= std::min(rows_max, rows); ++n) {
    if (rows % n == 0 && static_cast<double>(n) <= fit) chosen = n;
  }
  return chosen;
}

}  // namespace

StatusOr<ResolvedSpec> Resolve(const ParsedJob& job) {
  RETURN_IF_ERROR(Validate(job.spec));
  ResolvedSpec resolved{.spec = job.spec, .origins = {}};
  JobSpec& spec = resolved.spec;
  std::map<std::string, std::string> origins = job.origins;
  if (!spec.model.preset.empty()) {
    ASSIGN_OR_RETURN(const Preset* preset, FindPreset(spec.model.preset));
    spec.model.config = preset->config;
    for (const auto& [key, value] : preset->config) {
      origins["model.config." + key] = "preset " + preset->name;
    }
    spec.model.preset.clear();
    origins.erase("model.preset");
  }
  if (spec.kind == "evaluate" && spec.train.max_steps == 0) {
    spec.train.max_steps = 1;  // the result is that of a step
    origins["train.max_steps"] = "planner";
  }
  if (spec.train.micro_batch_size == 0) {
    spec.train.micro_batch_size = ChooseMicroBatchSize(spec);
    origins["train.micro_batch_size"] = "planner";
  }
  VisitLeaves(spec, [&](const std::string& path, const Field& field, const std::string&) {
    if (field.text.filled_at_submit) return;
    const auto given = origins.find(path);
    resolved.origins[path] = given == origins.end() ? "default" : given->second;
  });
  return resolved;
}

StatusOr<ResolvedSpec> Resolve(const JobSpec& spec) {
  ParsedJob job;
  job.spec = spec;
  VisitLeaves(spec, [&](const std::string& path, const Field& field, const std::string& text) {
    if (field.text.filled_at_submit) return;
    if (field.type == FieldType::kTextMap || text != DefaultText(field)) {
      job.origins[path] = "job file";
    }
  });
  return Resolve(job);
}

nlohmann::ordered_json ResolvedToJson(const ResolvedSpec& resolved) {
  return {{"spec", JobSpecToJson(resolved.spec)}, {"origins", resolved.origins}};
}

StatusOr<ResolvedSpec> ResolvedFromJson(const nlohmann::ordered_json& json) {
  if (!json.is_object() || !json.contains("spec") || !json.contains("origins") ||
      !json["origins"].is_object()) {
    return InvalidArgument("a resolved spec is {{\"spec\": {{...}}, \"origins\": {{...}}}}");
  }
  ResolvedSpec resolved;
  ASSIGN_OR_RETURN(resolved.spec, JobSpecFromJson(json["spec"]));
  for (const auto& [path, origin] : json["origins"].items()) {
    if (!origin.is_string()) return InvalidArgument("origins.{}: wants a text", path);
    resolved.origins[path] = origin.get<std::string>();
  }
  return resolved;
}

}  // namespace trainyard

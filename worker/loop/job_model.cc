#include "worker/loop/job_model.h"

#include <spdlog/spdlog.h>

#include "common/job_spec/json.h"
#include "worker/loop/precision.h"

namespace trainyard::worker {

StatusOr<ModelConfig> ModelOfJob(const JobSpec& spec, int64_t vocab_size,
                                 const TokenizerContents& special) {
  if (!spec.model.from.empty()) {
    return WithField(Unimplemented("model.from: going on from the weights of another model is not "
                                   "built yet; use model.preset or model.config"),
                     "model.from");
  }
  nlohmann::json json = ModelConfigJson(spec);
  if (json.contains("vocab_size") && json["vocab_size"].is_number_integer()) {
    const int64_t asked = json["vocab_size"];
    if (asked < vocab_size) {
      return WithField(InvalidArgument("model.config.vocab_size is {}, but the tokenizer has {} "
                                       "tokens; leave it out to use the tokenizer's",
                                       asked, vocab_size),
                       "model.config.vocab_size");
    }
  } else {
    json["vocab_size"] = vocab_size;
  }
  if (special.mask.id < 0) {
    json["bos_token_id"] = special.bos.id;
    json["eos_token_id"] = special.eos.id;
  } else {
    json["pad_token_id"] = special.pad.id;
  }
  StatusOr<ModelConfig> config = ModelConfigFromJson(json);
  if (!config.ok()) return WithField(Annotate(config.status(), "model.config"), "model.config");
  if (config->max_length() < spec.train.max_length) {
    return WithField(
        InvalidArgument("train.max_length is {}, but the model has positions for {} tokens",
                        spec.train.max_length, config->max_length()),
        "train.max_length");
  }
  return config;
}

StatusOr<JobEngine> CreateJobEngine(const RankContext& context, int64_t vocab_size,
                                    const TokenizerContents& special) {
  const JobSpec& spec = context.spec;
  JobEngine made;
  ASSIGN_OR_RETURN(const ModelConfig config, ModelOfJob(spec, vocab_size, special));
  ASSIGN_OR_RETURN(const Device device, DeviceFromName(spec.resources.device));
  ASSIGN_OR_RETURN(made.precision, ResolvePrecision(spec.train.precision, device, ReadCpuInfo()));
  const EngineOptions options{.name = kPolicy,
                              .precision = made.precision,
                              .device = device,
                              .threads = static_cast<int>(spec.resources.threads_per_rank),
                              .seed = static_cast<uint64_t>(spec.train.seed),
                              .recompute = plan::RecomputeFromName(spec.train.recompute)};
  ASSIGN_OR_RETURN(made.engine, Engine::Create(config, options));
  spdlog::info("model={} parameters={} vocab_size={} precision={} device={} threads={} kernels={}",
               config.model_type, config.parameter_count(), config.vocab_size,
               PrecisionName(made.precision), DeviceName(device), options.threads, KernelsInUse());
  return made;
}

}  // namespace trainyard::worker

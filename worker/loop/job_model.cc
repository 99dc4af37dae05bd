#include "worker/loop/job_model.h"

#include <spdlog/spdlog.h>

#include "common/job_spec/fresh_model.h"
#include "common/job_spec/json.h"
#include "common/machine.h"
#include "common/model/config_keys.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/loop/precision.h"
#include "worker/loop/reading.h"

namespace trainyard::worker {

namespace {

// An evaluation has its own length, and checks it.
Status CheckPositions(const JobSpec& spec, const ModelConfig& config) {
  if (spec.kind == "evaluate" || config.max_length() >= spec.train.max_length) return OkStatus();
  return WithField(
      InvalidArgument("train.max_length is {}, but the model has positions for {} tokens",
                      spec.train.max_length, config.max_length()),
      "train.max_length");
}

StatusOr<ModelConfig> GivenModel(const JobSpec& spec, const StartingModel& model,
                                 int64_t vocab_size) {
  const auto refuse = [](const Status& status) { return WithField(status, "model.from"); };
  const StatusOr<ModelConfig> config = ModelConfigFromJson(model.config);
  if (!config.ok()) return refuse(Annotate(config.status(), "model.from: config.json"));
  if (vocab_size > config->vocab_size)
    return refuse(InvalidArgument(
        "model.from: the tokenizer has {} tokens, the model's embedding {} rows: they are not of "
        "one model",
        vocab_size, config->vocab_size));
  const bool masked = spec.objective == "masked";
  if (config->family().causal == masked)
    return WithField(InvalidArgument("objective: {} is not for a model of type {}: give objective: "
                                     "{}, or a model of type {}",
                                     spec.objective, config->model_type,
                                     masked ? "causal" : "masked", FamilyNames(/*causal=*/!masked)),
                     "objective");
  if (!config->has_head)
    return refuse(InvalidArgument(
        "model.from: the model has no head that predicts tokens; name one that was trained to "
        "(architectures: ...ForMaskedLM)"));
  return config;
}

StatusOr<ModelConfig> FreshModel(const JobSpec& spec, int64_t vocab_size,
                                 const TokenizerContents& special) {
  const nlohmann::json given = ModelConfigJson(spec);
  for (const std::string& note : ConfigNotes(given, /*trains=*/true)) {
    spdlog::warn("model.config: {}", note);
  }
  if (given.contains("vocab_size") && given["vocab_size"].is_number_integer() &&
      given["vocab_size"] < vocab_size) {
    return WithField(InvalidArgument("model.config.vocab_size is {}, but the tokenizer has {} "
                                     "tokens; leave it out to use the tokenizer's",
                                     given["vocab_size"].dump(), vocab_size),
                     "model.config.vocab_size");
  }
  if (special.mask.id >= 0) {
    return FreshModelConfig(spec, vocab_size, {{"pad_token_id", special.pad.id}});
  }
  return FreshModelConfig(spec, vocab_size,
                          {{"bos_token_id", special.bos.id}, {"eos_token_id", special.eos.id}});
}

// One past the greatest id that stands for text. Some tokenizers have special tokens behind the
// last row of their model's embedding (Gemma 3 one for images); no text here has them.
StatusOr<int64_t> RowsOfText(const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const std::vector<uint32_t> sizes, tokenizer.TokenSizes());
  int64_t rows = std::ssize(sizes);
  while (rows > 0 && sizes[static_cast<size_t>(rows) - 1] == 0) --rows;
  return rows;
}

}  // namespace

StatusOr<ModelConfig> ModelOfJob(const JobSpec& spec, const StartingModel& model,
                                 int64_t vocab_size, const TokenizerContents& special) {
  ASSIGN_OR_RETURN(const ModelConfig config, model.has_weights()
                                                 ? GivenModel(spec, model, vocab_size)
                                                 : FreshModel(spec, vocab_size, special));
  RETURN_IF_ERROR(CheckPositions(spec, config));
  return config;
}

StatusOr<int64_t> VocabularyOfJob(const StartingModel& model, const Tokenizer& tokenizer) {
  return model.has_weights() ? RowsOfText(tokenizer) : tokenizer.vocab_size();
}

StatusOr<JobEngine> CreateJobEngine(const RankContext& context, const StartingModel& model,
                                    const Tokenizer& tokenizer, const TokenizerContents& special,
                                    bool learns) {
  const JobSpec& spec = context.spec;
  JobEngine made;
  ASSIGN_OR_RETURN(const int64_t vocab_size, VocabularyOfJob(model, tokenizer));
  ASSIGN_OR_RETURN(const ModelConfig config, ModelOfJob(spec, model, vocab_size, special));
  ASSIGN_OR_RETURN(const Device device, DeviceFromName(spec.resources.device));
  const auto choices = context.link->directive().choices.value_or(std::vector<Choice>());
  ASSIGN_OR_RETURN(made.precision, ResolvePrecision(spec.train.precision, device, choices,
                                                    ThisMachineMultipliesBfloat16()));
  for (const Choice& choice : choices) {
    spdlog::info("{}: auto is {}, {}", choice.field, choice.value, choice.why);
  }
  const EngineOptions options{.name = kPolicy,
                              .precision = made.precision,
                              .device = device,
                              .threads = static_cast<int>(spec.resources.threads_per_rank),
                              .seed = static_cast<uint64_t>(spec.train.seed),
                              .recompute = plan::RecomputeFromName(spec.train.recompute),
                              .learns = learns};
  ASSIGN_OR_RETURN(made.engine, Engine::Create(config, options));
  // A checkpoint that the job resumes from has all that is read here.
  if (model.has_weights() && !context.link->directive().resume.has_value()) {
    ASSIGN_OR_RETURN(const std::vector<ParameterView> parameters, made.engine->Parameters());
    const Status read =
        ReadWeights(model.path, parameters, options.threads, TellReading(*context.link));
    if (!read.ok()) return WithField(Annotate(read, "model.from"), "model.from");
    RETURN_IF_ERROR(made.engine->WeightsChanged());
  }
  spdlog::info("model={} parameters={} vocab_size={} precision={} device={} threads={} kernels={}",
               config.model_type, config.parameter_count(), config.vocab_size,
               PrecisionName(made.precision), DeviceName(device), options.threads, KernelsInUse());
  return made;
}

}  // namespace trainyard::worker

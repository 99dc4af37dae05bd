// tool pace: how long a job's micro-batch and update take here, without holding the whole model.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/clock.h"
#include "common/files.h"
#include "worker/engine/engine.h"
#include "worker/engine/measure_pace.h"
#include "worker/objective/cross_entropy.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

constexpr int kTimes = 3;  // each; the shortest counts, the first warms up

struct Seconds {
  double micro_batch = 0, update = 0;
};

StatusOr<Seconds> Time(ModelConfig config, int64_t layers, const PaceOptions& options) {
  config.layers = layers;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Engine> engine,
      Engine::Create(config, {.precision = options.precision == "bf16" ? Precision::kBfloat16
                                                                       : Precision::kFloat32,
                              .threads = options.threads,
                              .recompute = plan::RecomputeFromName(options.recompute)}));
  const Batch batch = NoiseRows(options.rows, options.length, config.vocab_size, options.learning);
  ASSIGN_OR_RETURN(const CrossEntropy objective, CrossEntropy::Over(batch.targets()));
  const UpdateOptions update{
      .optimiser = options.optim == "muon" ? Optimiser::kMuon : Optimiser::kAdamW,
      .learning_rate = 1e-4,
      .max_grad_norm = 1};
  const SystemClock clock;
  Seconds best{.micro_batch = 1e30, .update = 1e30};
  for (int i = 0; i < kTimes; ++i) {
    const absl::Duration begin = clock.Elapsed();
    RETURN_IF_ERROR(engine->ForwardBackward(batch, objective).status());
    const absl::Duration middle = clock.Elapsed();
    RETURN_IF_ERROR(engine->Update(update, nullptr).status());
    best.micro_batch = std::min(best.micro_batch, absl::ToDoubleSeconds(middle - begin));
    best.update = std::min(best.update, absl::ToDoubleSeconds(clock.Elapsed() - middle));
  }
  return best;
}

}  // namespace

Status Pace(const PaceOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(options.config));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("{}: not valid JSON", options.config.string());
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(json));
  ASSIGN_OR_RETURN(const Seconds one, Time(config, 1, options));
  ASSIGN_OR_RETURN(const Seconds two, Time(config, 2, options));
  // Every further layer costs what the second did, and no less than nothing.
  const auto whole = [&](double first, double second) {
    return first + static_cast<double>(config.layers - 1) * std::max(0.0, second - first);
  };
  std::printf("%.6f %.6f\n", whole(one.micro_batch, two.micro_batch),
              whole(one.update, two.update));
  return OkStatus();
}

Status TellPaces(const std::string& probe_json) {
  const auto json = nlohmann::json::parse(probe_json, nullptr, /*allow_exceptions=*/false);
  ASSIGN_OR_RETURN(const plan::Probe probe, plan::ProbeFromJson(json));
  ASSIGN_OR_RETURN(const plan::Paces paces, MeasurePaces(probe));
  std::printf("%s\n", plan::PacesToJson(paces).dump().c_str());
  return OkStatus();
}

}  // namespace trainyard::worker

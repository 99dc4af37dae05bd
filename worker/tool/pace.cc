// tool pace: how long a job's micro-batch and update take here, without holding the whole model.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/clock.h"
#include "common/files.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

constexpr int kTimes = 3;  // each; the shortest counts, the first warms up

// Ids that look like noise; a share of the places learns, evenly spread.
Batch NoiseRows(int64_t rows, int64_t length, int64_t vocab, double learning) {
  Batch batch;
  uint32_t state = 1;
  batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < length; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto id = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab));
      batch.token_ids_T.push_back(id);
      const auto place = static_cast<double>(row * length + i);
      const bool learns = std::floor((place + 1) * learning) > std::floor(place * learning);
      batch.target_ids_T.push_back(learns ? id : kNoTarget);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

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

}  // namespace trainyard::worker

// Steps of the engine at a named shape, one at a time, so that a driver can interleave them with a
// peer's (bench/train_step.py). For every line read from standard input it takes one step and
// answers with a line: seconds, loss, minor page faults. With --choose it takes none, and writes
// what `precision: auto` comes to for the shape and the measured rates.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>

#include "common/clock.h"
#include "common/job_spec/presets.h"
#include "common/machine.h"
#include "common/plan/kept_paces.h"
#include "common/plan/number_format.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

struct Shape {
  std::string preset = "gpt2";
  std::string precision = "bf16";
  std::string device = "cpu";
  int64_t vocab = 50304;
  int64_t rows = 4;
  int64_t length = 512;
  int64_t micro_rows = 0;  // 0: one micro-batch
  int threads = 2;
  bool choose = false;
};

StatusOr<ModelConfig> ConfigOf(const Shape& shape) {
  ASSIGN_OR_RETURN(const Preset* preset, FindPreset(shape.preset));
  nlohmann::json json = {{"vocab_size", shape.vocab}};
  for (const auto& [key, value] : preset->config) {
    json[key] = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (json[key].is_discarded()) json[key] = value;
  }
  return ModelConfigFromJson(json);
}

// Rows of ids that look like noise; every place but the last of a row is trained.
Batch NoiseBatch(const Shape& shape, int64_t rows, uint32_t salt) {
  Batch batch;
  uint32_t state = salt * 2654435761U + 1;
  batch.cu_seqlens.push_back(0);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < shape.length; ++i) {
      state = state * 1664525U + 1013904223U;
      const auto id = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(shape.vocab));
      batch.token_ids_T.push_back(id);
      batch.target_ids_T.push_back(id);
      batch.position_ids_T.push_back(static_cast<int32_t>(i));
    }
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  }
  return batch;
}

int64_t MinorFaults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// "fp32 measured: fp32 ... tokens/s, bf16 ... tokens/s"
Status Choose(const Shape& shape) {
  ASSIGN_OR_RETURN(ModelConfig config, ConfigOf(shape));
  plan::RankShape whole;
  whole.step.model = std::move(config);
  whole.step.rows = shape.micro_rows > 0 ? shape.micro_rows : shape.rows;
  whole.step.length = shape.length;
  whole.step.threads = shape.threads;
  whole.rows_per_rank = shape.rows;
  const plan::Probe probe = plan::ProbeOf(whole.step, plan::Work::kTraining);
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  ASSIGN_OR_RETURN(
      const plan::Paces paces,
      plan::FindPaces(
          probe, {.file = {}, .trainer = self.parent_path() / "trainyard-trainer", .go_on = {}}));
  const plan::NumberFormat format =
      plan::ChooseNumberFormat({.fp32 = plan::TrainingRate(probe, paces.fp32, whole),
                                .bf16 = plan::TrainingRate(probe, paces.bf16, whole)},
                               ThisMachineMultipliesBfloat16(), "");
  std::printf("%s %s\n", format.bfloat16 ? "bf16" : "fp32", format.why.c_str());
  return OkStatus();
}

Status Run(const Shape& shape) {
  if (shape.choose) return Choose(shape);
  ASSIGN_OR_RETURN(const ModelConfig config, ConfigOf(shape));
  const Precision precision =
      shape.precision == "bf16" ? Precision::kBfloat16 : Precision::kFloat32;
  ASSIGN_OR_RETURN(const Device device, DeviceFromName(shape.device));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Engine> engine,
      Engine::Create(
          config, {.precision = precision, .device = device, .threads = shape.threads, .seed = 1}));
  const SystemClock clock;
  const int64_t micro_rows = shape.micro_rows > 0 ? shape.micro_rows : shape.rows;
  ASSIGN_OR_RETURN(const CrossEntropy objective, CrossEntropy::Over(shape.rows * shape.length));
  std::string line;
  for (uint32_t step = 0; std::getline(std::cin, line); ++step) {
    const absl::Duration begin = clock.Elapsed();
    const int64_t faults = MinorFaults();
    double loss = 0;
    for (int64_t row = 0; row < shape.rows; row += micro_rows) {
      const Batch batch = NoiseBatch(shape, std::min(micro_rows, shape.rows - row), step % 8);
      ASSIGN_OR_RETURN(const StepLoss part, engine->ForwardBackward(batch, objective));
      loss += part.loss_sum;
    }
    RETURN_IF_ERROR(
        engine->Update({.learning_rate = 1e-4, .weight_decay = 0.1, .max_grad_norm = 1.0}, nullptr)
            .status());
    std::printf("%.6f %.6f %ld\n", absl::ToDoubleSeconds(clock.Elapsed() - begin), loss,
                static_cast<long>(MinorFaults() - faults));
    std::fflush(stdout);
  }
  return OkStatus();
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  trainyard::worker::KeepFreedMemory();
  CLI::App app{"One training step for every line of standard input"};
  trainyard::worker::Shape shape;
  app.add_option("--preset", shape.preset, "model shape");
  app.add_option("--precision", shape.precision, "fp32 or bf16");
  app.add_option("--device", shape.device, "cpu or cuda");
  app.add_option("--vocab", shape.vocab, "vocabulary");
  app.add_option("--rows", shape.rows, "rows of a step");
  app.add_option("--length", shape.length, "tokens of a row");
  app.add_option("--micro-rows", shape.micro_rows, "rows of a micro-batch; 0: all");
  app.add_option("--threads", shape.threads, "threads");
  app.add_flag("--choose", shape.choose, "only say which precision auto comes to");
  CLI11_PARSE(app, argc, argv);
  const trainyard::Status status = trainyard::worker::Run(shape);
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", trainyard::MessageOf(status).c_str());
  return 1;
}

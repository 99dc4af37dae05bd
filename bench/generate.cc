// Greedy answers to prompts of different lengths by a fresh model of SmolLM2-135M's shape. For
// every line read from standard input it answers all prompts and says how many seconds that took
// (bench/generate.py).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "common/clock.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory.h"

namespace trainyard::worker {
namespace {

struct Shape {
  std::string precision = "fp32";
  int64_t prompts = 16;
  int64_t shortest = 20, step = 10;  // tokens of the first prompt, and what each has more
  int64_t new_tokens = 48;
  int threads = 2;
};

ModelConfig SmolLm2() {
  ModelConfig config;
  config.model_type = "llama";
  config.vocab_size = 49152;
  config.hidden_size = 576;
  config.layers = 30;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_width = 64;
  config.mlp_width = 1536;
  config.max_positions = 2048;
  config.rope.theta = 100000;
  config.tie_embeddings = true;
  return config;
}

std::vector<std::vector<int32_t>> Prompts(const Shape& shape) {
  std::vector<std::vector<int32_t>> prompts;
  uint32_t state = 1;
  for (int64_t i = 0; i < shape.prompts; ++i) {
    std::vector<int32_t>& prompt = prompts.emplace_back();
    for (int64_t j = 0; j < shape.shortest + i * shape.step; ++j) {
      state = state * 1664525U + 1013904223U;
      prompt.push_back(static_cast<int32_t>((state >> 8) % 49152));
    }
  }
  return prompts;
}

Status Run(const Shape& shape) {
  const Precision precision =
      shape.precision == "bf16" ? Precision::kBfloat16 : Precision::kFloat32;
  ASSIGN_OR_RETURN(const auto engine,
                   Engine::Create(SmolLm2(), {.precision = precision, .threads = shape.threads}));
  const auto prompts = Prompts(shape);
  const SystemClock clock;
  for (std::string line; std::getline(std::cin, line);) {
    const absl::Duration begin = clock.Elapsed();
    RETURN_IF_ERROR(engine->Sample(
        prompts, {.max_new_tokens = shape.new_tokens, .temperature = 0, .batch_max = shape.prompts},
        [](const SampledToken&) { return true; }));
    std::printf("%.6f\n", absl::ToDoubleSeconds(clock.Elapsed() - begin));
    std::fflush(stdout);
  }
  return OkStatus();
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  trainyard::worker::KeepFreedMemory();
  trainyard::worker::Shape shape;
  CLI::App app("Answers to prompts, one round for every line of standard input.");
  app.add_option("--precision", shape.precision, "fp32 or bf16");
  app.add_option("--prompts", shape.prompts);
  app.add_option("--new-tokens", shape.new_tokens);
  app.add_option("--threads", shape.threads);
  CLI11_PARSE(app, argc, argv);
  const trainyard::Status ran = trainyard::worker::Run(shape);
  if (!ran.ok()) std::fprintf(stderr, "%s\n", trainyard::MessageOf(ran).c_str());
  return ran.ok() ? 0 : 1;
}

// What backward computes again has the bits of what was kept.
#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

using plan::Recompute;

std::vector<float> Weights(Engine& engine) {
  std::vector<float> all;
  const auto views = engine.Parameters().value();
  for (const ParameterView& view : views) {
    all.insert(all.end(), view.master, view.master + view.count);
  }
  return all;
}

// After three updates of two micro-batches each.
std::vector<float> Trained(const ModelConfig& config, Precision precision, Recompute recompute) {
  const auto engine = Engine::Create(
      config, {.precision = precision, .threads = 2, .seed = 7, .recompute = recompute});
  EXPECT_OK(engine.status());
  for (int step = 0; step < 3; ++step) {
    for (const uint32_t salt : {1U, 2U}) {
      const Batch batch = Pack({NoiseItem(33, config.vocab_size, salt),
                                {5},
                                NoiseItem(18, config.vocab_size, salt + 10)});
      const auto objective = CrossEntropy::Over(2 * batch.targets());
      EXPECT_OK(objective.status());
      EXPECT_OK((*engine)->ForwardBackward(batch, *objective).status());
    }
    EXPECT_OK((*engine)->Update({.learning_rate = 1e-2, .max_grad_norm = 1}, nullptr).status());
  }
  return Weights(**engine);
}

TEST(Recompute, ChangesNotABit) {
  for (const ModelConfig& config :
       {TinyLlama(), TinyGpt2(), TinyOf("qwen3"), TinyOf("gemma3_text"), TinyOf("bert")}) {
    for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
      SCOPED_TRACE(config.model_type + (precision == Precision::kFloat32 ? " fp32" : " bf16"));
      const std::vector<float> kept = Trained(config, precision, Recompute::kNone);
      EXPECT_EQ(Trained(config, precision, Recompute::kActivations), kept);
      EXPECT_EQ(Trained(config, precision, Recompute::kBlock), kept);
    }
  }
}

}  // namespace
}  // namespace trainyard::worker

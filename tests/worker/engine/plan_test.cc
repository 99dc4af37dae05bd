// The plan's replay of a step against what torch takes from the arena, and its arithmetic against
// the trainer's own.
#include <gmock/gmock.h>

#include <algorithm>

#include "common/plan/memory.h"
#include "common/plan/scratch.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/engine/plan_shapes.h"
#include "tests/worker/support/batches.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory.h"
#include "worker/objective/cross_entropy.h"
#include "worker/ops/attention_cpu.h"
#include "worker/ops/product_cpu.h"
#include "worker/ops/products.h"

namespace trainyard::worker {
namespace {

using plan::RankShape;
using plan::Recompute;

struct Case {
  const char* name;
  ModelConfig config;
  Precision precision;
  Recompute recompute;
  int64_t rows, length;
  double masked = 0;  // the probability of places to be masked; 0: every place learns
};

RankShape ShapeOf(const Case& c) {
  RankShape shape{.step = {.model = c.config,
                           .bfloat16 = c.precision == Precision::kBfloat16,
                           .recompute = c.recompute,
                           .rows = c.rows,
                           .length = c.length,
                           .threads = 2},
                  .rows_per_rank = c.rows};
  if (c.masked > 0) shape.step.masking = MaskingSpec{.probability = c.masked};
  return shape;
}

int64_t Planned(const Case& c) { return plan::PlanMemory(ShapeOf(c)).arena_bytes; }

// As many places learn as the plan allows for.
Batch BatchOf(const Case& c) {
  Batch batch = FullRows(c.rows, c.length, c.config.vocab_size);
  const int64_t places = batch.tokens(), learning = ShapeOf(c).step.learning();
  for (int64_t i = 0; i < places; ++i) {
    const bool learns = (i + 1) * learning / places > i * learning / places;
    if (!learns) batch.target_ids_T[static_cast<size_t>(i)] = kNoTarget;
  }
  return batch;
}

ModelConfig WithVocabulary(ModelConfig config, int64_t vocab_size) {
  config.vocab_size = vocab_size;
  return config;
}

// In ascending order of need: the arena remembers the most it ever held.
TEST(Plan, TheArenaComesToWhatThePlanSays) {
  if (!HasBfloat16Products() || KernelsInUse() == "off") {
    GTEST_SKIP() << "the plan is for machines with bfloat16 products and kernels on";
  }
  KeepFreedMemory();
  Case cases[] = {
      {"llama bf16 block", Widened(TinyLlama(), 4), Precision::kBfloat16, Recompute::kBlock, 4,
       256},
      {"llama bf16 activations", Widened(TinyLlama(), 4), Precision::kBfloat16,
       Recompute::kActivations, 4, 256},
      {"llama bf16", Widened(TinyLlama(), 4), Precision::kBfloat16, Recompute::kNone, 4, 256},
      {"gpt2 fp32 block", Widened(TinyGpt2(), 6), Precision::kFloat32, Recompute::kBlock, 4, 384},
      {"gpt2 bf16", Widened(TinyGpt2(), 6), Precision::kBfloat16, Recompute::kNone, 4, 384},
      {"gpt2 fp32 activations", Widened(TinyGpt2(), 6), Precision::kFloat32,
       Recompute::kActivations, 4, 384},
      {"llama fp32", Widened(TinyLlama(), 5), Precision::kFloat32, Recompute::kNone, 5, 384},
      {"gpt2 fp32", Widened(TinyGpt2(), 8), Precision::kFloat32, Recompute::kNone, 5, 384},
      {"bert bf16", Widened(TinyOf("bert"), 8), Precision::kBfloat16, Recompute::kNone, 10, 384},
      {"bert fp32 block", Widened(TinyOf("bert"), 8), Precision::kFloat32, Recompute::kBlock, 18,
       384},
      {"qwen3 bf16", Widened(TinyOf("qwen3"), 8), Precision::kBfloat16, Recompute::kNone, 12, 384},
      {"gemma3 fp32", Widened(TinyOf("gemma3_text"), 8), Precision::kFloat32, Recompute::kNone, 7,
       384},
      {"qwen3 fp32 activations", Widened(TinyOf("qwen3"), 8), Precision::kFloat32,
       Recompute::kActivations, 9, 384},
      {"gemma3 bf16 block", Widened(TinyOf("gemma3_text"), 8), Precision::kBfloat16,
       Recompute::kBlock, 40, 384},
      {"gemma2 bf16", Widened(TinyOf("gemma2"), 4), Precision::kBfloat16, Recompute::kNone, 8, 384},
      {"gemma2 fp32 block", Widened(TinyOf("gemma2"), 4), Precision::kFloat32, Recompute::kBlock, 8,
       384},
      // Where the head is what is large.
      {"gemma2 bf16, odd vocabulary", WithVocabulary(Widened(TinyOf("gemma2"), 1), 20001),
       Precision::kBfloat16, Recompute::kNone, 4, 160},
      {"gemma2 bf16, even vocabulary", WithVocabulary(Widened(TinyOf("gemma2"), 1), 30000),
       Precision::kBfloat16, Recompute::kNone, 4, 160},
      {"gemma2 fp32, large vocabulary", WithVocabulary(Widened(TinyOf("gemma2"), 1), 25000),
       Precision::kFloat32, Recompute::kNone, 4, 160},
      {"bert bf16, masked", Widened(TinyOf("bert"), 8), Precision::kBfloat16, Recompute::kNone, 12,
       384, 0.15},
      {"bert fp32, masked", Widened(TinyOf("bert"), 4), Precision::kFloat32, Recompute::kNone, 12,
       384, 0.15},
      {"bert bf16, masked, few places", WithVocabulary(Widened(TinyOf("bert"), 1), 40000),
       Precision::kBfloat16, Recompute::kNone, 4, 160, 0.1},
      {"bert fp32 block, masked", Widened(TinyOf("bert"), 4), Precision::kFloat32,
       Recompute::kBlock, 20, 384, 0.4},
  };
  std::sort(std::begin(cases), std::end(cases),
            [](const Case& a, const Case& b) { return Planned(a) < Planned(b); });
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const int64_t planned = Planned(c);
    ASSERT_OK_AND_ASSIGN(
        const std::unique_ptr<Engine> engine,
        Engine::Create(c.config,
                       {.precision = c.precision, .threads = 2, .recompute = c.recompute}));
    const Batch batch = BatchOf(c);
    ASSERT_OK_AND_ASSIGN(const CrossEntropy objective, CrossEntropy::Over(batch.targets()));
    for (int step = 0; step < 2; ++step) {
      ASSERT_OK(engine->ForwardBackward(batch, objective));
      ASSERT_OK(engine->Update({.learning_rate = 1e-3}, nullptr));
      ASSERT_OK(engine->Forward(batch));
    }
    const auto measured = static_cast<double>(ArenaHighBytes());
    EXPECT_NEAR(measured, static_cast<double>(planned), 0.005 * measured);
  }
}

TEST(Plan, KnowsTheKernelsScratch) {
  for (const int threads : {1, 2, 7}) {
    for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{512, 50304, 768},
                                  {2048, 768, 50304},
                                  {77, 130, 1026},
                                  {33, 64, 32}}) {
      EXPECT_EQ(plan::ProductScratchBytes(m, n, k, threads), ProductScratchBytes(m, n, k, threads));
      EXPECT_EQ(plan::GradientProductScratchBytes(n, k, threads),
                GradientProductScratchBytes(m, n, k, threads));
    }
    for (const int32_t longest : {1, 64, 500, 1024}) {
      const std::vector<int32_t> cu_seqlens = {0, longest, longest + 1};
      const AttentionLayout layout{
          .cu_seqlens = cu_seqlens, .heads = 4, .kv_heads = 2, .width = 48, .causal = true};
      EXPECT_EQ(plan::AttentionScratchBytes(48, longest, 4, threads, false),
                AttentionForwardScratchBytes<float>(layout, threads));
      EXPECT_EQ(plan::AttentionScratchBytes(48, longest, 2, threads, false),
                AttentionForwardScratchBytes<Bfloat16>(layout, threads));
      EXPECT_EQ(plan::AttentionScratchBytes(48, longest, 4, threads, true),
                AttentionBackwardScratchBytes<float>(layout, threads));
      EXPECT_EQ(plan::AttentionScratchBytes(48, longest, 2, threads, true),
                AttentionBackwardScratchBytes<Bfloat16>(layout, threads));
    }
  }
}

}  // namespace
}  // namespace trainyard::worker

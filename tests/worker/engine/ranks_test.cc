// Engines of several ranks: the weights do not depend on how and when gradients are summed.
#include <gmock/gmock.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "common/thread.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_kinds.h"
#include "tests/worker/support/batches.h"
#include "worker/engine/engine.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

std::vector<ParameterView> ParametersOf(Engine& engine) { return engine.Parameters().value(); }

using testing::HasSubstr;

constexpr int kRanks = 2;
constexpr int kSteps = 3;
constexpr UpdateOptions kUpdate{.learning_rate = 1e-2, .max_grad_norm = 1.0};

struct Way {
  Kind kind;
  bool tells_last = false;  // whether ForwardBackward is told of the step's last micro-batch
};

// A part of step `step` of this rank.
Batch Part(int rank, int step, int part) {
  return Pack({NoiseItem(17, 37, static_cast<uint32_t>(100 * step + 10 * part + rank))});
}

// Wide enough that one step takes several sums.
ModelConfig Wide(ModelConfig config) {
  config.hidden_size = 128;
  config.kv_heads = config.heads;
  config.head_width = 32;
  config.mlp_width = 512;
  return config;
}

std::vector<float> WeightsOf(Engine& engine) {
  std::vector<float> weights;
  for (const ParameterView& view : ParametersOf(engine))
    weights.insert(weights.end(), view.master, view.master + view.count);
  return weights;
}

// Makes the model's gradients infinite, and itself again.
void Break(Engine& engine, float* old) {
  float& weight = *ParametersOf(engine).back().master;
  *old = std::exchange(weight, std::numeric_limits<float>::infinity());
  EXPECT_OK(engine.WeightsChanged());
}
void Mend(Engine& engine, float old) {
  *ParametersOf(engine).back().master = old;
  EXPECT_OK(engine.WeightsChanged());
}

// One rank's training; the second step is not finite on the last rank, and the third has nothing to
// train in its last part.
void TrainRank(Engine& engine, Collective& collective, bool tells_last, int parts) {
  for (int step = 0; step < kSteps; ++step) {
    const bool breaks = step == 1 && collective.rank() == kRanks - 1;
    float old = 0;
    if (breaks) Break(engine, &old);
    for (int part = 0; part < parts; ++part) {
      Batch batch = Part(collective.rank(), step, part);
      const bool last = part + 1 == parts;
      if (step == 2 && last) std::fill_n(batch.target_ids_T.begin(), batch.tokens(), kNoTarget);
      const auto objective = CrossEntropy::Over(32 * parts);
      EXPECT_OK(engine.ForwardBackward(batch, *objective,
                                       {.collective = tells_last && last ? &collective : nullptr}));
    }
    if (breaks) Mend(engine, old);
    const auto report = engine.Update(kUpdate, &collective);
    EXPECT_OK(report);
    EXPECT_EQ(report->skipped, step == 1);
  }
}

// The weights of every rank after the same training.
std::vector<std::vector<float>> Train(const ModelConfig& config, Way way, int parts) {
  auto collectives = MakeCollectives(way.kind, kRanks);
  std::vector<std::vector<float>> weights(kRanks);
  std::vector<Thread> threads;
  for (size_t rank = 0; rank < kRanks; ++rank)
    threads.emplace_back("rank", [&, rank] {
      const auto engine = Engine::Create(config, {});
      ASSERT_OK(engine);
      TrainRank(**engine, *collectives[rank], way.tells_last, parts);
      const int64_t calls = collectives[rank]->sequence();
      EXPECT_EQ(calls > kSteps, way.kind == Kind::kTcp) << calls;
      weights[rank] = WeightsOf(**engine);
    });
  threads.clear();
  return weights;
}

TEST(Ranks, TrainToTheSameBitsHoweverGradientsAreSummed) {
  for (const ModelConfig& config : {Wide(TinyLlama()), Wide(TinyGpt2())})
    for (const int parts : {1, 3}) {
      const auto expected = Train(config, {Kind::kSharedMemory, /*tells_last=*/false}, parts);
      EXPECT_EQ(expected[0], expected[1]);
      for (const Way way :
           {Way{Kind::kSharedMemory, true}, Way{Kind::kTcp, false}, Way{Kind::kTcp, true}})
        EXPECT_EQ(Train(config, way, parts), expected)
            << config.model_type << ", " << parts << " parts";
    }
}

TEST(Ranks, AnEngineThatGoesAwayInTheMiddleOfAStepFreesItsPeer) {
  auto collectives = MakeCollectives(Kind::kTcp, kRanks);
  std::vector<Thread> threads;
  for (size_t rank = 0; rank < kRanks; ++rank)
    threads.emplace_back("rank", [&, rank] {
      const auto engine = Engine::Create(Wide(TinyLlama()), {});
      ASSERT_OK(engine);
      const auto objective = CrossEntropy::Over(64);
      EXPECT_OK((*engine)->ForwardBackward(Part(static_cast<int>(rank), 0, 0), *objective,
                                           {.collective = collectives[rank].get()}));
      if (rank == 0) return;
      EXPECT_THAT((*engine)->Update(kUpdate, collectives[rank].get()),
                  StatusIs(StatusCode::kAborted, HasSubstr("rank 0 was told to stop")));
    });
  threads.clear();
}

}  // namespace
}  // namespace trainyard::worker

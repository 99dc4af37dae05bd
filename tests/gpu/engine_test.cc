// The engine on the GPU against the engine on the CPU.
#include "worker/engine/engine.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "tests/gpu/gpu.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/objective/cross_entropy.h"
#include "worker/parallel/nccl_collective.h"
#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {
namespace {

constexpr int kUpdates = 20;

struct Case {
  const char* name;
  ModelConfig config;
  Optimiser optimiser = Optimiser::kAdamW;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

ModelConfig Wider(ModelConfig config) {
  config.vocab_size = 301;
  config.hidden_size = 64;
  config.heads = 4;
  config.kv_heads = config.model_type == "llama" ? 2 : 4;
  config.head_width = 16;
  config.mlp_width = 256;
  return config;
}

struct TrainingRun {
  std::vector<double> losses, grad_norms;
  std::vector<float> weights;  // all masters
};

std::vector<float> WeightsOf(Engine& engine) {
  std::vector<float> weights;
  const auto views = engine.Parameters();
  EXPECT_OK(views);
  for (const ParameterView& view : *views) {
    weights.insert(weights.end(), view.master, view.master + view.count);
  }
  return weights;
}

std::unique_ptr<Engine> EngineOn(Device device, const Case& c, Precision precision) {
  auto engine = Engine::Create(c.config, {.precision = precision, .device = device});
  EXPECT_OK(engine);
  return *std::move(engine);
}

Batch BatchOf(const Case& c, int step) {
  const auto salt = static_cast<uint32_t>(step % 4);
  return Pack(
      {NoiseItem(48, c.config.vocab_size, salt), NoiseItem(64, c.config.vocab_size, salt + 9),
       NoiseItem(1, c.config.vocab_size, salt), NoiseItem(17, c.config.vocab_size, salt + 5)});
}

TrainingRun Train(Engine& engine, const Case& c, Collective* collective = nullptr) {
  TrainingRun run;
  for (int step = 0; step < kUpdates; ++step) {
    const Batch batch = BatchOf(c, step);
    const auto objective = CrossEntropy::Over(batch.targets());
    const auto loss = engine.ForwardBackward(batch, *objective);
    EXPECT_OK(loss);
    const auto report = engine.Update({.optimiser = c.optimiser,
                                       .learning_rate = 1e-3,
                                       .weight_decay = 0.1,
                                       .max_grad_norm = 1.0},
                                      collective);
    EXPECT_OK(report);
    run.losses.push_back(loss->loss_sum);
    run.grad_norms.push_back(report->grad_norm);
  }
  run.weights = WeightsOf(engine);
  return run;
}

// Length of the difference of what two runs changed, over the length of what one changed.
double UpdateError(const std::vector<float>& start, const TrainingRun& a, const TrainingRun& b) {
  double difference = 0, length = 0;
  for (size_t i = 0; i < start.size(); ++i) {
    difference += std::pow(a.weights[i] - b.weights[i], 2);
    length += std::pow(b.weights[i] - start[i], 2);
  }
  return std::sqrt(difference / length);
}

class EngineOnGpu : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { SKIP_WITHOUT_GPU(); }
};

TEST_P(EngineOnGpu, TwentyUpdatesAreTheCpus) {
  const Case& c = GetParam();
  auto here = EngineOn(Device::kCpu, c, Precision::kFloat32);
  auto there = EngineOn(Device::kCuda, c, Precision::kFloat32);
  const std::vector<float> start = WeightsOf(*here);
  ASSERT_EQ(start, WeightsOf(*there));
  const TrainingRun expected = Train(*here, c), got = Train(*there, c);
  for (int i = 0; i < kUpdates; ++i) {
    const auto step = static_cast<size_t>(i);
    EXPECT_NEAR(got.losses[step], expected.losses[step], 1e-4 * expected.losses[step]);
    EXPECT_NEAR(got.grad_norms[step], expected.grad_norms[step], 1e-3 * expected.grad_norms[step]);
  }
  EXPECT_LT(UpdateError(start, got, expected), 2e-3);
}

TEST_P(EngineOnGpu, InBfloat16TheLossIsWithinTwoPercent) {
  const Case& c = GetParam();
  const TrainingRun expected = Train(*EngineOn(Device::kCuda, c, Precision::kFloat32), c);
  const TrainingRun got = Train(*EngineOn(Device::kCuda, c, Precision::kBfloat16), c);
  for (int i = 0; i < kUpdates; ++i) {
    const auto step = static_cast<size_t>(i);
    EXPECT_NEAR(got.losses[step], expected.losses[step], 0.02 * expected.losses[step]);
  }
}

TEST_P(EngineOnGpu, TwoRunsHaveTheSameBits) {
  const Case& c = GetParam();
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    const TrainingRun one = Train(*EngineOn(Device::kCuda, c, precision), c);
    const TrainingRun two = Train(*EngineOn(Device::kCuda, c, precision), c);
    EXPECT_EQ(one.losses, two.losses);
    EXPECT_EQ(one.weights, two.weights);
  }
}

TEST_P(EngineOnGpu, GoesOnFromWhatWasWrittenThroughItsViews) {
  const Case& c = GetParam();
  auto first = EngineOn(Device::kCuda, c, Precision::kBfloat16);
  Train(*first, c);
  auto second = EngineOn(Device::kCuda, c, Precision::kBfloat16);
  const auto from = first->Parameters().value(), to = second->Parameters().value();
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t bytes = static_cast<size_t>(from[i].count) * sizeof(float);
    std::memcpy(to[i].master, from[i].master, bytes);
    std::memcpy(to[i].moment1, from[i].moment1, bytes);
    std::memcpy(to[i].moment2, from[i].moment2, bytes);
  }
  ASSERT_OK(second->WeightsChanged());
  second->set_update_count(first->update_count());
  const TrainingRun a = Train(*first, c), b = Train(*second, c);
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.weights, b.weights);
}

TEST_P(EngineOnGpu, ContinuesAPromptAsTheCpuDoes) {
  const Case& c = GetParam();
  const auto greedy = [&](Device device) {
    auto engine = EngineOn(device, c, Precision::kFloat32);
    Train(*engine, c);
    std::vector<int32_t> tokens;
    EXPECT_OK(engine->Sample(std::vector<Item>{{1, 2, 3}}, {.max_new_tokens = 24, .temperature = 0},
                             [&](const SampledToken& token) {
                               tokens.push_back(token.id);
                               return true;
                             }));
    return tokens;
  };
  EXPECT_EQ(greedy(Device::kCuda), greedy(Device::kCpu));
}

TEST_P(EngineOnGpu, AnInfiniteGradientIsNamedAndSkipped) {
  const Case& c = GetParam();
  auto engine = EngineOn(Device::kCuda, c, Precision::kFloat32);
  const auto views = engine->Parameters().value();
  views.back().master[0] = INFINITY;
  ASSERT_OK(engine->WeightsChanged());
  const Batch batch = BatchOf(c, 0);
  const auto objective = CrossEntropy::Over(batch.targets());
  ASSERT_OK(engine->ForwardBackward(batch, *objective));
  ASSERT_OK_AND_ASSIGN(const UpdateReport report, engine->Update({.learning_rate = 1e-3}, nullptr));
  EXPECT_TRUE(report.skipped);
  EXPECT_NE(report.non_finite_in, "");
}

// Real NCCL, of one rank.
TEST_P(EngineOnGpu, OneRankOfNcclChangesNothing) {
  const Case& c = GetParam();
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<NcclLibrary> library, OpenNcclLibrary());
  const SystemClock clock;
  auto hosts = MakeThreadCollectives(1);
  ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<Collective> collective,
      NcclCollective::Connect(std::move(hosts[0]), std::move(library), &clock, absl::Seconds(60)));
  const TrainingRun alone = Train(*EngineOn(Device::kCuda, c, Precision::kBfloat16), c);
  const TrainingRun one =
      Train(*EngineOn(Device::kCuda, c, Precision::kBfloat16), c, collective.get());
  EXPECT_EQ(collective->sequence(), kUpdates);
  EXPECT_EQ(alone.losses, one.losses);
  EXPECT_EQ(alone.weights, one.weights);
}

INSTANTIATE_TEST_SUITE_P(Families, EngineOnGpu,
                         testing::Values(Case{"llama", Wider(TinyLlama())},
                                         Case{"gpt2", Wider(TinyGpt2())},
                                         Case{"llama_muon", Wider(TinyLlama()), Optimiser::kMuon},
                                         Case{"llama_odd_heads", TinyLlama()}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace trainyard::worker

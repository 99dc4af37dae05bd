#include "worker/engine/engine.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/objective/cross_entropy.h"

namespace trainyard::worker {
namespace {

std::vector<ParameterView> ParametersOf(Engine& engine) { return engine.Parameters().value(); }

using testing::HasSubstr;

struct Case {
  ModelConfig config;
  Precision precision = Precision::kFloat32;
};

std::unique_ptr<Engine> MakeEngine(const Case& c, int threads = 1, uint64_t seed = 42) {
  auto engine =
      Engine::Create(c.config, {.precision = c.precision, .threads = threads, .seed = seed});
  EXPECT_OK(engine);
  return *std::move(engine);
}

double LossOf(Engine& engine, const Batch& batch) {
  const auto objective = CrossEntropy::Over(batch.targets());
  const auto loss = engine.ForwardBackward(batch, *objective);
  EXPECT_OK(loss);
  return loss->loss_sum;
}

UpdateReport UpdateOf(Engine& engine, const UpdateOptions& options) {
  const auto report = engine.Update(options, nullptr);
  EXPECT_OK(report);
  return *report;
}

std::vector<float> WeightsOf(Engine& engine) {
  std::vector<float> weights;
  for (const ParameterView& view : ParametersOf(engine)) {
    weights.insert(weights.end(), view.master, view.master + view.count);
  }
  return weights;
}

Batch NoiseBatch(int64_t vocab) {
  return Pack({NoiseItem(31, vocab, 1), NoiseItem(31, vocab, 2), NoiseItem(12, vocab, 3)});
}

class EngineOf : public testing::TestWithParam<Case> {};

TEST_P(EngineOf, AFreshModelKnowsNothing) {
  auto engine = MakeEngine(GetParam());
  const double log_vocab = std::log(static_cast<double>(GetParam().config.vocab_size));
  EXPECT_NEAR(LossOf(*engine, NoiseBatch(37)), log_vocab, 0.02 * log_vocab);
}

TEST_P(EngineOf, LearnsASequenceThatRepeats) {
  auto engine = MakeEngine(GetParam());
  Item item;
  for (int i = 0; i < 48; ++i) item.push_back((i * i + 3) % 11);
  const Batch batch = Pack({item, item});
  double loss = 0;
  for (int step = 0; step < 80; ++step) {
    loss = LossOf(*engine, batch);
    // Down to nothing: at a constant rate Adam's steps grow again once the gradients are gone.
    const double learning_rate = 1e-2 * (1 - step / 80.0);
    const UpdateReport report = UpdateOf(
        *engine, {.learning_rate = learning_rate, .weight_decay = 0.01, .max_grad_norm = 1.0});
    EXPECT_FALSE(report.skipped);
  }
  EXPECT_LT(loss, 0.05);
  EXPECT_EQ(engine->update_count(), 80);
  ASSERT_OK_AND_ASSIGN(const TokenOutputs outputs, engine->Forward(batch));
  EXPECT_EQ(outputs.argmax_match_N, std::vector<uint8_t>(94, 1));
}

TEST_P(EngineOf, MuonMovesTheMatricesOfBlocksAndAdamWTheRest) {
  auto muon = MakeEngine(GetParam()), adamw = MakeEngine(GetParam());
  const std::vector<float> before = WeightsOf(*muon);
  UpdateOptions options{.learning_rate = 1e-3, .weight_decay = 0.1, .max_grad_norm = 1.0};
  LossOf(*adamw, NoiseBatch(37));
  UpdateOf(*adamw, options);
  LossOf(*muon, NoiseBatch(37));
  options.optimiser = Optimiser::kMuon;
  UpdateOf(*muon, options);
  const auto muon_views = ParametersOf(*muon), adamw_views = ParametersOf(*adamw);
  size_t first = 0, matrices = 0;
  for (size_t i = 0; i < muon_views.size(); ++i) {
    const ParameterView &m = muon_views[i], &a = adamw_views[i];
    const size_t bytes = static_cast<size_t>(m.count) * sizeof(float);
    const bool in_block =
        m.name.find(".layers.") != std::string::npos || m.name.find(".h.") != std::string::npos;
    if (in_block && m.shape.size() == 2) {
      ++matrices;
      double squares = 0, second = 0;
      for (int64_t e = 0; e < m.count; ++e) {
        squares += std::pow(m.master[e] - before[first + static_cast<size_t>(e)], 2);
        second += m.moment2[e];
        // The same gradient, of which (1 - 0.95) and (1 - 0.9) parts are in the moments.
        EXPECT_NEAR(m.moment1[e], 0.5 * a.moment1[e], 1e-5 * std::abs(a.moment1[e])) << m.name;
      }
      // Singular values of 0.68 to 1.21, of full rank or, where two query heads of a fresh model
      // share a value head, of half of it; AdamW's first update would be lr. Decay is far smaller.
      const double share = std::sqrt(squares / static_cast<double>(m.count)) / (0.2 * 1e-3);
      EXPECT_GT(share, 0.68 * std::sqrt(0.5)) << m.name;
      EXPECT_LT(share, 1.25) << m.name;
      EXPECT_EQ(second, 0) << m.name;
    } else {
      EXPECT_EQ(std::memcmp(m.master, a.master, bytes), 0) << m.name;
      EXPECT_EQ(std::memcmp(m.moment2, a.moment2, bytes), 0) << m.name;
    }
    first += static_cast<size_t>(m.count);
  }
  EXPECT_EQ(matrices, GetParam().config.model_type == "gpt2" ? 8U : 14U);  // of two layers
}

TEST_P(EngineOf, LearnsASequenceThatRepeatsWithMuon) {
  auto engine = MakeEngine(GetParam());
  Item item;
  for (int i = 0; i < 48; ++i) item.push_back((i * i + 3) % 11);
  const Batch batch = Pack({item, item});
  double loss = 0;
  for (int step = 0; step < 80; ++step) {
    loss = LossOf(*engine, batch);
    UpdateOf(*engine, {.optimiser = Optimiser::kMuon,
                       .learning_rate = 1e-2,
                       .weight_decay = 0.01,
                       .max_grad_norm = 1.0});
  }
  EXPECT_LT(loss, 0.05);
}

TEST_P(EngineOf, TwoRunsGiveTheSameBits) {
  for (const int threads : {1, 2}) {
    std::vector<float> first;
    for (int run = 0; run < 2; ++run) {
      auto engine = MakeEngine(GetParam(), threads);
      for (int step = 0; step < 3; ++step) {
        LossOf(*engine, NoiseBatch(37));
        UpdateOf(*engine, {.learning_rate = 1e-3, .max_grad_norm = 1.0});
      }
      if (run == 0) first = WeightsOf(*engine);
      EXPECT_EQ(WeightsOf(*engine), first) << threads << " threads";
    }
  }
}

TEST_P(EngineOf, MicroBatchesAddUp) {
  auto whole = MakeEngine(GetParam()), parts = MakeEngine(GetParam());
  const std::vector<Item> items = {NoiseItem(31, 37, 1), NoiseItem(20, 37, 2)};
  const auto objective = CrossEntropy::Over(30 + 19);
  ASSERT_OK_AND_ASSIGN(const StepLoss all, whole->ForwardBackward(Pack(items), *objective));
  ASSERT_OK_AND_ASSIGN(const StepLoss a, parts->ForwardBackward(Pack({items[0]}), *objective));
  ASSERT_OK_AND_ASSIGN(const StepLoss b, parts->ForwardBackward(Pack({items[1]}), *objective));
  EXPECT_EQ(all.targets, 49);
  EXPECT_EQ(a.targets + b.targets, 49);
  const bool bf16 = GetParam().precision == Precision::kBfloat16;
  EXPECT_NEAR(a.loss_sum + b.loss_sum, all.loss_sum, bf16 ? 1e-3 : 1e-6);
  const double norm = UpdateOf(*whole, {}).grad_norm;
  EXPECT_NEAR(UpdateOf(*parts, {}).grad_norm, norm, (bf16 ? 1e-2 : 1e-5) * norm);
}

TEST_P(EngineOf, GreedySamplingIsTheArgmaxOfTheFullForward) {
  auto engine = MakeEngine(GetParam());
  // A little training, so that the likeliest token is clear.
  for (int step = 0; step < 20; ++step) {
    LossOf(*engine, NoiseBatch(37));
    UpdateOf(*engine, {.learning_rate = 1e-2});
  }
  Item item = NoiseItem(5, 37, 1);
  std::vector<float> logprobs;
  EXPECT_OK(engine->Sample(std::vector<Item>{item}, {.max_new_tokens = 20, .temperature = 0},
                           [&](const SampledToken& token) {
                             item.push_back(token.id);
                             logprobs.push_back(token.logprob);
                             return true;
                           }));
  ASSERT_EQ(item.size(), 25U);
  ASSERT_OK_AND_ASSIGN(const TokenOutputs outputs, engine->Forward(Pack({item})));
  const double tolerance = GetParam().precision == Precision::kBfloat16 ? 0.1 : 1e-4;
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(logprobs[i], outputs.logprob_N[4 + i], tolerance);
    if (GetParam().precision == Precision::kFloat32) {
      EXPECT_EQ(outputs.argmax_match_N[4 + i], 1) << "token " << i;
    }
  }
}

ModelConfig TiedLlama() {
  ModelConfig config = TinyLlama();
  config.tie_embeddings = true;
  return config;
}

INSTANTIATE_TEST_SUITE_P(Families, EngineOf,
                         testing::Values(Case{TinyLlama()}, Case{TiedLlama()}, Case{TinyGpt2()},
                                         Case{TinyLlama(), Precision::kBfloat16},
                                         Case{TinyGpt2(), Precision::kBfloat16}),
                         [](const auto& info) {
                           return info.param.config.model_type +
                                  (info.param.config.tie_embeddings ? "Tied" : "") +
                                  (info.param.precision == Precision::kBfloat16 ? "Bf16" : "Fp32");
                         });

TEST(Engine, ABatchThatTrainsNothingAddsNothing) {
  auto engine = MakeEngine({TinyLlama()});
  Batch batch = Pack({{1, 2, 3}});
  batch.target_ids_T = {kNoTarget, kNoTarget, kNoTarget};
  const auto objective = CrossEntropy::Over(1);
  ASSERT_OK_AND_ASSIGN(const StepLoss loss, engine->ForwardBackward(batch, *objective));
  EXPECT_EQ(loss.targets, 0);
  EXPECT_EQ(UpdateOf(*engine, {}).grad_norm, 0.0);
}

TEST(Engine, SkipsAnUpdateThatIsNotFiniteAndNamesTheTensor) {
  auto engine = MakeEngine({TinyLlama()});
  const auto before = WeightsOf(*engine);
  ParameterView norm;
  for (const ParameterView& view : ParametersOf(*engine)) {
    if (view.name == "model.norm.weight") norm = view;
  }
  const float old = norm.master[3];
  norm.master[3] = std::numeric_limits<float>::infinity();
  ASSERT_OK(engine->WeightsChanged());
  LossOf(*engine, NoiseBatch(37));
  norm.master[3] = old;
  const UpdateReport report = UpdateOf(*engine, {.learning_rate = 1e-2});
  EXPECT_TRUE(report.skipped);
  EXPECT_EQ(report.non_finite_in, "model.embed_tokens.weight");  // the first in checkpoint order
  EXPECT_EQ(engine->update_count(), 0);
  EXPECT_EQ(WeightsOf(*engine), before);

  // The next step starts clean.
  LossOf(*engine, NoiseBatch(37));
  EXPECT_FALSE(UpdateOf(*engine, {.learning_rate = 1e-2}).skipped);
  EXPECT_EQ(engine->update_count(), 1);
}

TEST(Engine, ClipsToTheAskedLength) {
  // With SGD-like settings (no moments, no decay) clipping would show in the update; AdamW's first
  // update does not depend on the gradient's length, so look at the first moment.
  auto engine = MakeEngine({TinyLlama()});
  LossOf(*engine, NoiseBatch(37));
  const UpdateReport report = UpdateOf(*engine, {.learning_rate = 1e-3, .max_grad_norm = 0.01});
  EXPECT_GT(report.grad_norm, 0.01);
  double squares = 0;
  for (const ParameterView& view : ParametersOf(*engine)) {
    for (int64_t i = 0; i < view.count; ++i) squares += std::pow(view.moment1[i] / 0.1, 2);
  }
  EXPECT_NEAR(std::sqrt(squares), 0.01, 1e-5);
}

// Two ranks in one thread: the peer's gradient is given.
class PeerGradient : public Collective {
 public:
  explicit PeerGradient(float peer) : peer_(peer) {}
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Status AllReduceSum(std::span<float> values, absl::Duration) override {
    if (broken_) return Aborted("a peer is gone");
    for (float& value : values) value += peer_;
    return OkStatus();
  }
  Status AllReduceSum(std::span<double>, absl::Duration) override { return OkStatus(); }
  Status ReduceScatterSum(std::span<const float>, std::span<float>, absl::Duration) override {
    return OkStatus();
  }
  Status AllGather(std::span<const std::byte>, std::span<std::byte>, absl::Duration) override {
    return OkStatus();
  }
  Status Broadcast(std::span<std::byte>, int, absl::Duration) override { return OkStatus(); }
  Status Barrier(absl::Duration) override { return OkStatus(); }
  void Abort() override { broken_ = true; }
  int64_t sequence() const override { return 0; }

 private:
  const float peer_;
  bool broken_ = false;
};

TEST(Engine, SumsGradientsOverTheRanks) {
  auto engine = MakeEngine({TinyLlama()});
  PeerGradient collective(2.0F);
  ASSERT_OK_AND_ASSIGN(const UpdateReport report, engine->Update({}, &collective));
  const auto count = static_cast<double>(WeightsOf(*engine).size());
  EXPECT_NEAR(report.grad_norm, 2.0 * std::sqrt(count), 1e-6 * count);
  collective.Abort();
  EXPECT_THAT(engine->Update({}, &collective),
              StatusIs(StatusCode::kAborted, HasSubstr("a peer is gone")));
}

TEST(Engine, RefusesWhatItCannotDoByName) {
  ModelConfig config = TinyLlama();
  config.kv_heads = 3;
  EXPECT_THAT(Engine::Create(config, {}).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("num_key_value_heads")));
  EXPECT_THAT(Engine::Create(TinyLlama(), {.threads = 0}).status(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("threads")));
  auto engine = MakeEngine({TinyLlama()});
  EXPECT_THAT(engine->Forward({}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("no tokens")));
  EXPECT_THAT(engine->Sample(std::vector<Item>{{99}}, {}, [](const SampledToken&) { return true; }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("prompt[0]")));
}

TEST(Engine, SamplingStopsWhenAskedAtAStopIdAndAtTheLastPosition) {
  auto engine = MakeEngine({TinyLlama()});
  std::vector<int32_t> tokens;
  const std::vector<Item> prompt = {{1, 2}};
  const auto collect = [&](const SampledToken& token) {
    tokens.push_back(token.id);
    return tokens.size() < 100;
  };
  ASSERT_OK(engine->Sample(prompt, {.max_new_tokens = 500, .seed = 5}, collect));
  EXPECT_EQ(tokens.size(), 62U);  // 64 positions
  const auto all = tokens;

  tokens.clear();
  ASSERT_OK(
      engine->Sample(prompt, {.max_new_tokens = 500, .seed = 5, .stop_ids = {all[3]}}, collect));
  EXPECT_EQ(tokens.back(), all[3]);  // the stop id is shown, then nothing
  EXPECT_LE(tokens.size(), 4U);

  tokens.clear();
  ASSERT_OK(
      engine->Sample(prompt, {.max_new_tokens = 500, .seed = 5}, [&](const SampledToken& token) {
        tokens.push_back(token.id);
        return tokens.size() < 7;
      }));
  EXPECT_EQ(tokens, std::vector<int32_t>(all.begin(), all.begin() + 7));  // the same draws again
}

TEST(Engine, ThatOnlyAnswersHasNoGradientsAndSaysSo) {
  auto teacher = MakeEngine({TinyLlama()});
  ASSERT_OK_AND_ASSIGN(const auto engine, Engine::Create(TinyLlama(), {.learns = false}));
  ASSERT_OK_AND_ASSIGN(const auto from, teacher->Parameters());
  ASSERT_OK_AND_ASSIGN(const auto to, engine->Parameters());
  for (size_t i = 0; i < to.size(); ++i) {
    EXPECT_EQ(to[i].moment1, nullptr);
    std::copy_n(from[i].master, from[i].count, to[i].master);
  }
  ASSERT_OK(engine->WeightsChanged());
  const Batch batch = NoiseBatch(37);
  ASSERT_OK_AND_ASSIGN(const TokenOutputs expected, teacher->Forward(batch));
  ASSERT_OK_AND_ASSIGN(const TokenOutputs outputs, engine->Forward(batch));
  EXPECT_EQ(outputs.logprob_N, expected.logprob_N);
  ASSERT_OK_AND_ASSIGN(const CrossEntropy objective, CrossEntropy::Over(batch.targets()));
  EXPECT_THAT(engine->ForwardBackward(batch, objective),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("not to learn")));
  EXPECT_THAT(engine->Update({}, nullptr),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("not to learn")));
}

TEST(Engine, ContinuesEachPromptAsIfItWereAlone) {
  auto engine = MakeEngine({TinyLlama()});
  const std::vector<Item> prompts = {NoiseItem(5, 37, 1), NoiseItem(1, 37, 2), NoiseItem(30, 37, 3),
                                     NoiseItem(9, 37, 4), NoiseItem(17, 37, 5)};
  const auto continued = [&](std::span<const Item> some, int64_t batch_max) {
    std::vector<Item> answers(some.size());
    EXPECT_OK(engine->Sample(some, {.max_new_tokens = 12, .temperature = 0, .batch_max = batch_max},
                             [&](const SampledToken& token) {
                               answers[token.prompt].push_back(token.id);
                               return true;
                             }));
    return answers;
  };
  const std::vector<Item> together = continued(prompts, 16);
  EXPECT_EQ(continued(prompts, 2), together);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(continued({&prompts[i], 1}, 1)[0], together[i]) << "prompt " << i;
    EXPECT_EQ(together[i].size(), 12U);
  }
}

}  // namespace
}  // namespace trainyard::worker

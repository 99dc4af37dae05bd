#include "worker/engine/sampling.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>
#include <vector>

#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

// Probabilities 0.5, 0.3, 0.15, 0.05, out of order.
const std::vector<float> kLogits = {std::log(0.15F), std::log(0.5F), std::log(0.05F),
                                    std::log(0.3F)};

std::set<int32_t> Reachable(const SampleOptions& options) {
  std::set<int32_t> tokens;
  for (int i = 0; i < 1000; ++i) tokens.insert(ChooseToken(kLogits, options, {}, i / 1000.0).token);
  return tokens;
}

TEST(ChooseToken, IsGreedyAtTemperatureZeroAndTakesTheLowerIdOnTies) {
  const Choice choice = ChooseToken(kLogits, {.temperature = 0}, {}, 0.99);
  EXPECT_EQ(choice.token, 1);
  EXPECT_NEAR(choice.logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(ChooseToken(std::vector<float>{1, 2, 2}, {.temperature = 0}, {}, 0).token, 1);
}

TEST(ChooseToken, DrawsEachTokenAsOftenAsItsProbability) {
  const Rng rng{.seed = 3, .purpose = Purpose::kSample};
  std::vector<double> share(4);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const Choice choice = ChooseToken(kLogits, {}, {}, rng.Uniform(0, static_cast<uint64_t>(i)));
    share[static_cast<size_t>(choice.token)] += 1.0 / kDraws;
    EXPECT_NEAR(choice.logprob, kLogits[static_cast<size_t>(choice.token)], 1e-6);
  }
  // Four deviations at 0.5 are 0.0141.
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(share[i], std::exp(kLogits[i]), 0.015);
}

TEST(ChooseToken, KeepsOnlyTheLikeliestUnderTopKAndTopP) {
  using testing::ElementsAre;
  EXPECT_THAT(Reachable({}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Reachable({.top_k = 2}), ElementsAre(1, 3));
  EXPECT_THAT(Reachable({.top_p = 0.75}), ElementsAre(1, 3));
  EXPECT_THAT(Reachable({.top_p = 0.85}), ElementsAre(0, 1, 3));
  EXPECT_THAT(Reachable({.top_p = 1e-9}), ElementsAre(1));
  EXPECT_THAT(Reachable({.top_k = 2, .top_p = 0.6}), ElementsAre(1));  // 0.5 of 0.8 is 0.625
}

TEST(ChooseToken, MinPIsAShareOfTheLikeliest) {
  using testing::ElementsAre;
  EXPECT_THAT(Reachable({.min_p = 0.5}), ElementsAre(1, 3));  // 0.3 is 0.6 of 0.5
  EXPECT_THAT(Reachable({.min_p = 0.2}), ElementsAre(0, 1, 3));
  EXPECT_THAT(Reachable({.min_p = 1}), ElementsAre(1));
}

TEST(ChooseToken, APenaltyMakesWhatWasSaidLessLikely) {
  const std::vector<float> logits = {2, 3, -1};
  const std::vector<int32_t> context = {1, 2, 1};
  // 3 / 2 = 1.5 and -1 x 2 = -2: token 0 leads.
  const Choice choice =
      ChooseToken(logits, {.temperature = 0, .repetition_penalty = 2}, context, 0);
  EXPECT_EQ(choice.token, 0);
  EXPECT_NEAR(choice.logprob, 2 - std::log(std::exp(2) + std::exp(1.5) + std::exp(-2)), 1e-6);
}

TEST(ChooseToken, TemperatureSharpensAndItsLogprobIsOfTheFullSoftmax) {
  const Choice choice = ChooseToken(kLogits, {.temperature = 0.5, .top_k = 1}, {}, 0.5);
  const double squares = 0.25 + 0.09 + 0.0225 + 0.0025;
  EXPECT_NEAR(choice.logprob, std::log(0.25 / squares), 1e-5);
}

TEST(CheckSampleOptions, NamesTheField) {
  EXPECT_OK(CheckSampleOptions({}));
  const auto refuses = [](const SampleOptions& options, const char* field) {
    EXPECT_THAT(CheckSampleOptions(options),
                StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr(field)));
  };
  refuses({.max_new_tokens = -1}, "max_new_tokens");
  refuses({.temperature = -0.1}, "temperature");
  refuses({.temperature = std::nan("")}, "temperature");
  refuses({.top_k = -1}, "top_k");
  refuses({.top_p = 0}, "top_p");
  refuses({.top_p = 1.5}, "top_p");
  refuses({.min_p = 2}, "min_p");
  refuses({.repetition_penalty = 0}, "repetition_penalty");
  refuses({.batch_max = 0}, "batch_max");
}

}  // namespace
}  // namespace trainyard::worker

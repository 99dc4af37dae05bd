#include "worker/loop/evaluate.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

TEST(Evaluation, IsTheMeanOverTargetsAndTheBitsOverBytes) {
  EvaluationSums sums;
  // Four targets for 6 bytes of text: probabilities 1/2, 1/4 and 1/4, 1/4.
  const auto log2 = [](double p) { return static_cast<float>(std::log(p)); };
  sums.Add({.batch = {}, .source_bytes = 2},
           {.logprob_N = {log2(0.5), log2(0.25)}, .entropy_N = {0, 0}, .argmax_match_N = {1, 0}});
  sums.Add({.batch = {}, .source_bytes = 4},
           {.logprob_N = {log2(0.25), log2(0.25)}, .entropy_N = {0, 0}, .argmax_match_N = {0, 0}});
  ASSERT_OK_AND_ASSIGN(const Evaluation evaluation, sums.Finish());
  EXPECT_EQ(evaluation.targets, 4);
  // (1 + 2 + 2 + 2) bits = 7 bits; 7/4 bits a token, 7/6 bits a byte.
  EXPECT_NEAR(evaluation.loss, 7.0 / 4 * std::log(2), 1e-6);
  EXPECT_NEAR(evaluation.perplexity, std::pow(2, 7.0 / 4), 1e-5);
  EXPECT_NEAR(evaluation.bits_per_byte, 7.0 / 6, 1e-6);
  EXPECT_EQ(evaluation.token_accuracy, 0.25);
}

TEST(Evaluation, OfNothingIsRefused) {
  EXPECT_THAT(EvaluationSums().Finish(),
              StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("data.validation")));
}

}  // namespace
}  // namespace trainyard::worker

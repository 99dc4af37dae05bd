#include "worker/objective/cross_entropy.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

TEST(CrossEntropy, IsTheMeanOverTheGlobalBatch) {
  ASSERT_OK_AND_ASSIGN(const CrossEntropy objective, CrossEntropy::Over(4));
  const std::vector<float> logprob{-1, -2};
  ASSERT_OK_AND_ASSIGN(const TokenGradients loss,
                       objective.Evaluate({.logprob_N = logprob, .entropy_N = {}}));
  EXPECT_EQ(loss.loss_sum, 0.75);
  EXPECT_THAT(loss.d_logprob_N, testing::ElementsAre(-0.25F, -0.25F));
  EXPECT_TRUE(objective.coefficients_known_beforehand());
}

TEST(CrossEntropy, RefusesABatchThatTrainsNothing) {
  EXPECT_THAT(CrossEntropy::Over(0),
              StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("0 trained tokens")));
}

}  // namespace
}  // namespace trainyard::worker

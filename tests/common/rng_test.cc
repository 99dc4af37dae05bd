#include "common/rng.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace trainyard {
namespace {

TEST(Rng, IsAFunctionOfSeedPurposeStepAndIndex) {
  const Rng rng{.seed = 42, .purpose = Purpose::kSample};
  EXPECT_EQ(rng.Bits(3, 7), rng.Bits(3, 7));
  EXPECT_NE(rng.Bits(3, 7), rng.Bits(3, 8));
  EXPECT_NE(rng.Bits(3, 7), rng.Bits(4, 7));
  EXPECT_NE(rng.Bits(3, 7), (Rng{.seed = 43, .purpose = Purpose::kSample}.Bits(3, 7)));
  EXPECT_NE(rng.Bits(3, 7), (Rng{.seed = 42, .purpose = Purpose::kInit}.Bits(3, 7)));
}

TEST(Rng, NormalHasMeanZeroAndVarianceOne) {
  const Rng rng{.seed = 1};
  double sum = 0, squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.Normal(0, static_cast<uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.01);      // four deviations of the mean are 0.009
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);  // four of the variance are 0.013
}

TEST(Rng, PermutationHoldsEveryIndexOnce) {
  auto order = Rng{.seed = 9, .purpose = Purpose::kDataOrder}.Permutation(1000, 2);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace trainyard

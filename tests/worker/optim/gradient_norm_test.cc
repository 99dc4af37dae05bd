#include "worker/optim/gradient_norm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace trainyard::worker {
namespace {

TEST(SumOfSquares, CountsEveryElementOnce) {
  std::vector<float> values(100'003);
  double expected = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 7) - 3;
    expected += static_cast<double>(values[i]) * values[i];
  }
  EXPECT_EQ(SumOfSquares(values), expected);  // whole numbers: exact
}

TEST(SumOfSquares, DoesNotDependOnTheThreads) {
  std::vector<float> values(1'000'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const double one = SumOfSquares(values);
  at::set_num_threads(2);
  EXPECT_EQ(SumOfSquares(values), one);
  at::set_num_threads(before);
}

TEST(SumOfSquares, IsFiniteForTheLargestFloatsAndNotForOthers) {
  std::vector<float> values(50'000, std::numeric_limits<float>::max());
  EXPECT_TRUE(std::isfinite(SumOfSquares(values)));
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    values[49'999] = bad;
    EXPECT_FALSE(std::isfinite(SumOfSquares(values)));
  }
}

TEST(ClipScale, ShortensOnlyWhatIsTooLong) {
  EXPECT_EQ(ClipScale(0.5, 1.0), 1.0);
  EXPECT_NEAR(ClipScale(4.0, 1.0), 0.25, 1e-6);
  EXPECT_EQ(ClipScale(4.0, 0.0), 1.0);
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/optim/adamw.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace trainyard::worker {
namespace {

std::vector<float> Values(int64_t count, uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor values = at::randn({count}, at::kFloat);
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + count};
}

// torch.optim.AdamW's documentation, in float64 and one element at a time.
struct Reference {
  double p = 0, m = 0, v = 0;
  void Update(const AdamW& a, double g) {
    g *= a.gradient_scale;
    p -= a.learning_rate * a.weight_decay * p;
    m = a.beta1 * m + (1 - a.beta1) * g;
    v = a.beta2 * v + (1 - a.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(a.beta1, a.update));
    const double v_hat = v / (1 - std::pow(a.beta2, a.update));
    p -= a.learning_rate * m_hat / (std::sqrt(v_hat) + a.epsilon);
  }
};

TEST(AdamW, FollowsItsFormulaOverTwentyUpdatesAndZeroesTheGradient) {
  constexpr size_t kCount = 100'003;  // more than one piece, and not a multiple of a vector
  std::vector<float> master = Values(kCount, 1), moment1(kCount), moment2(kCount);
  std::vector<Reference> reference(kCount);
  for (size_t i = 0; i < kCount; ++i) reference[i].p = master[i];
  const std::vector<float> start = master;
  for (int64_t update = 1; update <= 20; ++update) {
    const AdamW adamw{
        .learning_rate = 1e-2, .weight_decay = 0.1, .gradient_scale = 0.5, .update = update};
    std::vector<float> gradient = Values(kCount, static_cast<uint64_t>(100 + update));
    for (size_t i = 0; i < kCount; ++i) reference[i].Update(adamw, gradient[i]);
    AdamWUpdate(adamw, master, gradient, moment1, moment2);
    EXPECT_EQ(gradient, std::vector<float>(kCount, 0.0F));
  }
  double error = 0, length = 0;
  for (size_t i = 0; i < kCount; ++i) {
    error += std::pow(master[i] - reference[i].p, 2);
    length += std::pow(reference[i].p - start[i], 2);
  }
  EXPECT_LT(std::sqrt(error / length), 1e-5);
}

TEST(AdamW, WritesTheWeightsAsATensorOfMastersWouldBeRounded) {
  std::vector<float> master = Values(5000, 1), gradient = Values(5000, 2);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float special :
       {nan, -nan, infinity, -infinity, 3.4e38F, 1.00390625F, 1e-40F, -0.0F}) {
    master.push_back(special);
    gradient.push_back(0);
  }
  std::vector<float> moment1(master.size()), moment2(master.size());
  std::vector<c10::BFloat16> weight(master.size());
  AdamWUpdate({.learning_rate = 1e-2}, master, gradient, moment1, moment2, weight);
  for (size_t i = 0; i < master.size(); ++i) {
    EXPECT_EQ(weight[i].x, c10::BFloat16(master[i]).x) << master[i];
  }
}

TEST(AdamW, GivesTheSameBitsWithOneThreadAndWithTwo) {
  const auto run = [](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    std::vector<float> master = Values(100'003, 1), gradient = Values(100'003, 2);
    std::vector<float> moment1(100'003), moment2(100'003);
    AdamWUpdate({.learning_rate = 1e-2}, master, gradient, moment1, moment2);
    at::set_num_threads(before);
    return master;
  };
  EXPECT_EQ(run(1), run(2));
}

}  // namespace
}  // namespace trainyard::worker

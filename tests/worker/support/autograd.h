// The oracle of explicit backward: ATen's autograd, which only tests use.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace trainyard::worker {

using at::Tensor;

struct OracleResult {
  Tensor value;
  std::vector<Tensor> gradients;  // one per input
};

// f(inputs), and its gradients by the inputs when the output's gradient is dy (a scalar output
// takes an undefined dy).
inline OracleResult Oracle(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                           const std::vector<Tensor>& inputs, const Tensor& dy = {}) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.detach().clone());
    if (input.is_floating_point()) leaves.back().requires_grad_(true);
  }
  const Tensor y = f(leaves);
  y.backward(dy);
  OracleResult result{.value = y.detach(), .gradients = {}};
  for (const Tensor& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

// Length of the difference over the length of the expectation; below 1e-300 both count as zero.
inline double RelativeError(const Tensor& actual, const Tensor& expected) {
  const Tensor a = actual.to(at::kDouble), e = expected.to(at::kDouble);
  return (a - e).norm().item<double>() / std::max(e.norm().item<double>(), 1e-300);
}

// Deterministic test data.
inline Tensor Normal(at::IntArrayRef shape, uint64_t seed, at::ScalarType type = at::kDouble) {
  at::manual_seed(seed);
  return at::randn(shape, at::kDouble).to(type);
}

// 1e-12 is what float64 leaves of a few thousand additions.
constexpr double kExact = 1e-12;

#define EXPECT_CLOSE(actual, expected, tolerance) \
  EXPECT_LT(::trainyard::worker::RelativeError(actual, expected), tolerance)

}  // namespace trainyard::worker

#include "worker/ops/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

TEST(GeluTanh, AgreesWithAutograd) {
  const Tensor x = Normal({6, 8}, 1), dy = Normal({6, 8}, 2);
  const OracleResult oracle = Oracle(
      [](const std::vector<Tensor>& in) {
        const double c = std::sqrt(2.0 / std::numbers::pi);
        return 0.5 * in[0] * (1 + (c * (in[0] + 0.044715 * in[0].pow(3))).tanh());
      },
      {x}, dy);
  EXPECT_CLOSE(GeluTanhForward(x), oracle.value, kExact);
  EXPECT_CLOSE(GeluTanhBackward(dy, x), oracle.gradients[0], kExact);
}

Tensor ExpectedSwiGlu(const std::vector<Tensor>& in) {
  const auto halves = in[0].chunk(2, -1);
  return halves[0] * halves[0].sigmoid() * halves[1];
}

TEST(SwiGlu, AgreesWithAutograd) {
  const Tensor x = Normal({6, 16}, 1), dy = Normal({6, 8}, 2);
  const OracleResult oracle = Oracle(ExpectedSwiGlu, {x}, dy);
  EXPECT_CLOSE(SwiGluForward(x), oracle.value, kExact);
  EXPECT_CLOSE(SwiGluBackward(dy, x), oracle.gradients[0], kExact);
}

TEST(Gelu, AgreesWithAutograd) {
  const Tensor x = Normal({6, 8}, 1), dy = Normal({6, 8}, 2);
  const OracleResult oracle = Oracle(
      [](const std::vector<Tensor>& in) {
        return 0.5 * in[0] * (1 + (in[0] / std::numbers::sqrt2).erf());
      },
      {x}, dy);
  EXPECT_CLOSE(GeluForward(x), oracle.value, kExact);
  EXPECT_CLOSE(GeluBackward(dy, x), oracle.gradients[0], kExact);
}

TEST(GeGluTanh, AgreesWithAutograd) {
  const Tensor x = Normal({6, 16}, 1), dy = Normal({6, 8}, 2);
  const OracleResult oracle = Oracle(
      [](const std::vector<Tensor>& in) {
        const auto halves = in[0].chunk(2, -1);
        return at::gelu(halves[0], "tanh") * halves[1];
      },
      {x}, dy);
  EXPECT_CLOSE(GeGluTanhForward(x), oracle.value, kExact);
  EXPECT_CLOSE(GeGluTanhBackward(dy, x), oracle.gradients[0], kExact);
}

TEST(SwiGlu, InBfloat16StaysWithinItsRounding) {
  const Tensor x = Normal({64, 16}, 1, at::kBFloat16), dy = Normal({64, 8}, 2, at::kBFloat16);
  const OracleResult oracle = Oracle(ExpectedSwiGlu, {x.to(at::kDouble)}, dy.to(at::kDouble));
  EXPECT_CLOSE(SwiGluForward(x), oracle.value, 8e-3);
  EXPECT_CLOSE(SwiGluBackward(dy, x), oracle.gradients[0], 8e-3);
}

}  // namespace
}  // namespace trainyard::worker

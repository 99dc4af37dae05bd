#include "worker/ops/linear.h"

#include <gtest/gtest.h>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

Tensor Expected(const std::vector<Tensor>& in) { return in[0].matmul(in[1].t()) + in[2]; }

TEST(Linear, AgreesWithAutograd) {
  const Tensor x = Normal({7, 5}, 1), w = Normal({3, 5}, 2), b = Normal({3}, 3);
  const Tensor dy = Normal({7, 3}, 4);
  const OracleResult oracle = Oracle(Expected, {x, w, b}, dy);
  const Tensor dw = at::zeros_like(w), db = at::zeros_like(b);
  EXPECT_CLOSE(LinearForward(x, w, b), oracle.value, kExact);
  EXPECT_CLOSE(LinearBackward(dy, x, w, dw, db), oracle.gradients[0], kExact);
  EXPECT_CLOSE(dw, oracle.gradients[1], kExact);
  EXPECT_CLOSE(db, oracle.gradients[2], kExact);
}

TEST(Linear, AddsIntoTheGradientsThatAreThere) {
  const Tensor x = Normal({7, 5}, 1), w = Normal({3, 5}, 2), dy = Normal({7, 3}, 4);
  const Tensor once = at::zeros_like(w), twice = at::zeros_like(w);
  LinearBackward(dy, x, w, once, {});
  LinearBackward(dy, x, w, twice, {});
  LinearBackward(dy, x, w, twice, {});
  EXPECT_CLOSE(twice, 2 * once, kExact);
}

TEST(Linear, TakesAWeightThatIsStoredTransposed) {
  const Tensor x = Normal({7, 5}, 1), stored = Normal({5, 3}, 2), dy = Normal({7, 3}, 4);
  const Tensor w = stored.t().contiguous();
  const Tensor dw = at::zeros_like(w), dstored = at::zeros_like(stored);
  EXPECT_CLOSE(LinearForward(x, stored.t(), {}), LinearForward(x, w, {}), kExact);
  EXPECT_CLOSE(LinearBackward(dy, x, stored.t(), dstored.t(), {}), LinearBackward(dy, x, w, dw, {}),
               kExact);
  EXPECT_CLOSE(dstored.t(), dw, kExact);
}

TEST(Linear, InBfloat16SumsItsGradientsInFloat32) {
  const Tensor x = Normal({64, 32}, 1, at::kBFloat16), w = Normal({16, 32}, 2, at::kBFloat16);
  const Tensor b = Normal({16}, 3, at::kBFloat16), dy = Normal({64, 16}, 4, at::kBFloat16);
  const auto wide = [](const Tensor& t) { return t.to(at::kDouble); };
  const OracleResult oracle = Oracle(Expected, {wide(x), wide(w), wide(b)}, wide(dy));
  const Tensor dw = at::zeros({16, 32}, at::kFloat), db = at::zeros({16}, at::kFloat);
  const Tensor y = LinearForward(x, w, b);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_CLOSE(y, oracle.value, 4e-3);  // bfloat16 rounds to 2^-9
  EXPECT_CLOSE(LinearBackward(dy, x, w, dw, db), oracle.gradients[0], 4e-3);
  EXPECT_CLOSE(dw, oracle.gradients[1], 4e-3);
  EXPECT_CLOSE(db, oracle.gradients[2], 1e-5);
}

}  // namespace
}  // namespace trainyard::worker

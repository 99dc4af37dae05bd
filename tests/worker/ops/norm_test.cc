#include "worker/ops/norm.h"

#include <gtest/gtest.h>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

constexpr double kEpsilon = 1e-5;
constexpr RmsNormOptions kRms = {.epsilon = kEpsilon};

Tensor ExpectedRms(const std::vector<Tensor>& in) {
  return in[0] / (in[0].pow(2).mean(-1, true) + kEpsilon).sqrt() * in[1];
}

Tensor ExpectedLayer(const std::vector<Tensor>& in) {
  const Tensor centred = in[0] - in[0].mean(-1, true);
  return centred / (centred.pow(2).mean(-1, true) + kEpsilon).sqrt() * in[1] + in[2];
}

TEST(RmsNorm, AgreesWithAutograd) {
  const Tensor x = Normal({6, 8}, 1), w = Normal({8}, 2), dy = Normal({6, 8}, 3);
  const OracleResult oracle = Oracle(ExpectedRms, {x, w}, dy);
  NormSaved saved;
  const Tensor dw = at::zeros_like(w);
  EXPECT_CLOSE(RmsNormForward(x, w, kRms, saved), oracle.value, kExact);
  EXPECT_CLOSE(RmsNormBackward(dy, x, w, kRms, saved, dw), oracle.gradients[0], kExact);
  EXPECT_CLOSE(dw, oracle.gradients[1], kExact);
}

TEST(RmsNorm, WithAnOffsetAgreesWithAutograd) {
  const Tensor x = Normal({6, 8}, 1), w = Normal({8}, 2), dy = Normal({6, 8}, 3);
  const OracleResult oracle = Oracle(
      [](const std::vector<Tensor>& in) {
        return ExpectedRms({in[0], in[1] + 1});
      },
      {x, w}, dy);
  const RmsNormOptions options{.epsilon = kEpsilon, .offset = 1};
  NormSaved saved;
  const Tensor dw = at::zeros_like(w);
  EXPECT_CLOSE(RmsNormForward(x, w, options, saved), oracle.value, kExact);
  EXPECT_CLOSE(RmsNormBackward(dy, x, w, options, saved, dw), oracle.gradients[0], kExact);
  EXPECT_CLOSE(dw, oracle.gradients[1], kExact);
}

TEST(LayerNorm, AgreesWithAutograd) {
  const Tensor x = Normal({6, 8}, 1), w = Normal({8}, 2), b = Normal({8}, 4);
  const Tensor dy = Normal({6, 8}, 3);
  const OracleResult oracle = Oracle(ExpectedLayer, {x, w, b}, dy);
  NormSaved saved;
  const Tensor dw = at::zeros_like(w), db = at::zeros_like(b);
  EXPECT_CLOSE(LayerNormForward(x, w, b, kEpsilon, saved), oracle.value, kExact);
  EXPECT_CLOSE(LayerNormBackward(dy, x, w, saved, dw, db), oracle.gradients[0], kExact);
  EXPECT_CLOSE(dw, oracle.gradients[1], kExact);
  EXPECT_CLOSE(db, oracle.gradients[2], kExact);
}

TEST(Norms, InBfloat16ComputeTheirInsidesInFloat32) {
  const Tensor x = Normal({64, 96}, 1, at::kBFloat16), w = Normal({96}, 2, at::kBFloat16);
  const Tensor b = Normal({96}, 4, at::kBFloat16), dy = Normal({64, 96}, 3, at::kBFloat16);
  const auto wide = [](const Tensor& t) { return t.to(at::kDouble); };
  NormSaved saved;
  const Tensor dw = at::zeros({96}, at::kFloat), db = at::zeros({96}, at::kFloat);
  const OracleResult rms = Oracle(ExpectedRms, {wide(x), wide(w)}, wide(dy));
  EXPECT_CLOSE(RmsNormForward(x, w, kRms, saved), rms.value, 4e-3);
  EXPECT_CLOSE(RmsNormBackward(dy, x, w, kRms, saved, dw), rms.gradients[0], 4e-3);
  EXPECT_CLOSE(dw, rms.gradients[1], 1e-5);

  dw.zero_();
  const OracleResult layer = Oracle(ExpectedLayer, {wide(x), wide(w), wide(b)}, wide(dy));
  EXPECT_CLOSE(LayerNormForward(x, w, b, kEpsilon, saved), layer.value, 4e-3);
  EXPECT_CLOSE(LayerNormBackward(dy, x, w, saved, dw, db), layer.gradients[0], 4e-3);
  EXPECT_CLOSE(dw, layer.gradients[1], 1e-5);
  EXPECT_CLOSE(db, layer.gradients[2], 1e-5);
}

}  // namespace
}  // namespace trainyard::worker

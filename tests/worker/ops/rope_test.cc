#include "worker/ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "common/model/rope_config.h"
#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

TEST(Rope, TurnsEachPairByItsPositionTimesItsFrequency) {
  // Pair i is the complex number x[i] + j x[i + width/2].
  constexpr int64_t kPositions = 5, kWidth = 6;
  constexpr double kTheta = 100.0;
  const RopeTable table =
      MakeRopeTable(kPositions, {RopeFrequencies<double>({.theta = kTheta}, kWidth)}, at::kDouble);
  const Tensor x = Normal({kPositions, 1, kWidth}, 1);
  Tensor y = x.clone();
  RopeForward(y, table);
  for (int64_t p = 0; p < kPositions; ++p) {
    for (int64_t i = 0; i < kWidth / 2; ++i) {
      const double frequency = std::pow(kTheta, -2.0 * static_cast<double>(i) / kWidth);
      const std::complex<double> expected =
          std::complex<double>(x[p][0][i].item<double>(), x[p][0][i + kWidth / 2].item<double>()) *
          std::polar(1.0, static_cast<double>(p) * frequency);
      EXPECT_NEAR(y[p][0][i].item<double>(), expected.real(), 1e-12);
      EXPECT_NEAR(y[p][0][i + kWidth / 2].item<double>(), expected.imag(), 1e-12);
    }
  }
}

TEST(Rope, BackwardAgreesWithAutograd) {
  const RopeTable table = MakeRopeTable(5, {RopeFrequencies<double>({}, 6)}, at::kDouble);
  const Tensor x = Normal({5, 3, 6}, 1), dy = Normal({5, 3, 6}, 2);
  const OracleResult oracle = Oracle(
      [&](const std::vector<Tensor>& in) {
        const Tensor cos = at::cat({table.cos_PH, table.cos_PH}, -1).unsqueeze(1);
        const Tensor sin = at::cat({table.sin_PH, table.sin_PH}, -1).unsqueeze(1);
        const auto halves = in[0].chunk(2, -1);
        return in[0] * cos + at::cat({-halves[1], halves[0]}, -1) * sin;
      },
      {x}, dy);
  Tensor y = x.clone(), dx = dy.clone();
  RopeForward(y, table);
  RopeBackward(dx, table);
  EXPECT_CLOSE(y, oracle.value, kExact);
  EXPECT_CLOSE(dx, oracle.gradients[0], kExact);
}

TEST(Rope, InFloat32StaysNearTheTrueAngle) {
  const std::vector<float> rounded = RopeFrequencies<float>({}, 64);
  const RopeTable table = MakeRopeTable(2048, {{rounded.begin(), rounded.end()}}, at::kFloat);
  const RopeTable exact = MakeRopeTable(2048, {RopeFrequencies<double>({}, 64)}, at::kDouble);
  // 2047 rounded to 24 bits twice: 2047 x 2^-23 radians.
  EXPECT_LT((table.cos_PH - exact.cos_PH).abs().max().item<double>(), 2.5e-4);
}

}  // namespace
}  // namespace trainyard::worker

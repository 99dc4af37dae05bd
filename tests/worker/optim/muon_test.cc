#include "worker/optim/muon.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

using Shape = std::vector<int64_t>;

// The iteration as it is written, in float64, whatever the shape.
Tensor OrthogonaliseAsWritten(Tensor x) {
  for (int step = 0; step < 5; ++step) {
    const Tensor gram = x.matmul(x.t());
    x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram.matmul(gram)).matmul(x);
  }
  return x;
}

Tensor UnitNormal(const Shape& shape, uint64_t seed) {
  const Tensor x = Normal(shape, seed);
  return x / x.norm();
}

// The documented rule, in float64.
struct Reference {
  Tensor w, m;
  void Update(const Muon& muon, const Tensor& gradient) {
    const Tensor g = gradient * muon.gradient_scale;
    m = muon.momentum * m + (1 - muon.momentum) * g;
    const Tensor u = muon.momentum * m + (1 - muon.momentum) * g;
    const Tensor o = OrthogonaliseAsWritten(u / std::max(u.norm().item<double>(), 1e-7));
    const auto longer = static_cast<double>(std::max(w.size(0), w.size(1)));
    w = (1 - muon.learning_rate * muon.weight_decay) * w -
        muon.learning_rate * 0.2 * std::sqrt(longer) * o;
  }
};

// A matrix of its own for MuonUpdate.
struct Weight {
  explicit Weight(const Tensor& start)
      : master(start.to(at::kFloat).contiguous()),
        gradient(at::zeros_like(master)),
        momentum(at::zeros_like(master)) {}
  MuonMatrix view() const {
    return {.master = master.mutable_data_ptr<float>(),
            .gradient = gradient.mutable_data_ptr<float>(),
            .momentum = momentum.mutable_data_ptr<float>(),
            .rows = master.size(0),
            .columns = master.size(1),
            .stride = master.size(1)};
  }
  Tensor master, gradient, momentum;
};

class MuonOf : public testing::TestWithParam<Shape> {};

TEST_P(MuonOf, OrthogonalisesAsTheIterationSaysInEveryType) {
  const Tensor x = UnitNormal(GetParam(), 1);
  const Tensor wanted = OrthogonaliseAsWritten(x);
  EXPECT_CLOSE(Orthogonalise(x, false), wanted, 1e-11);
  EXPECT_CLOSE(Orthogonalise(x.to(at::kFloat), false), wanted, 1e-5);
  EXPECT_CLOSE(Orthogonalise(x.to(at::kFloat), true), wanted, 2e-2);
}

TEST_P(MuonOf, FollowsItsRuleOverTenUpdatesAndZeroesTheGradient) {
  for (const bool bfloat16 : {false, true}) {
    const Tensor start = 0.02 * Normal(GetParam(), 1);
    const Weight weight(start);
    Reference reference{.w = weight.master.to(at::kDouble), .m = at::zeros_like(start)};
    for (int update = 0; update < 10; ++update) {
      const Muon muon{.learning_rate = 3e-3 / (1 + update),
                      .weight_decay = 0.1,
                      .gradient_scale = 0.5,
                      .bfloat16 = bfloat16};
      const Tensor gradient =
          Normal(GetParam(), static_cast<uint64_t>(100 + update)).to(at::kFloat);
      weight.gradient.copy_(gradient);
      const MuonMatrix view = weight.view();
      MuonUpdate(muon, {&view, 1});
      reference.Update(muon, gradient.to(at::kDouble));
      EXPECT_EQ(weight.gradient.abs().max().item<float>(), 0);
    }
    EXPECT_CLOSE(weight.momentum, reference.m, 1e-5);
    const Tensor moved = weight.master.to(at::kDouble) - start, wanted = reference.w - start;
    EXPECT_CLOSE(moved, wanted, bfloat16 ? 2e-2 : 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, MuonOf,
                         testing::Values(Shape{64, 64}, Shape{48, 160}, Shape{160, 48},
                                         Shape{33, 71}, Shape{1, 40}, Shape{40, 1}, Shape{1, 1},
                                         Shape{96, 256}),
                         [](const auto& info) {
                           return std::to_string(info.param[0]) + "x" +
                                  std::to_string(info.param[1]);
                         });

// a x + b x^3 + c x^5 has a local maximum of 1.2025 at x = 0.5545 and a local minimum of 0.6817 at
// x = 1.0502, so no singular value leaves that range once it is in it.
TEST(Muon, BringsSingularValuesCloseToOne) {
  for (const bool bfloat16 : {false, true}) {
    const double rounding = bfloat16 ? 1e-2 : 1e-4;
    for (const Shape& shape : {Shape{64, 256}, Shape{256, 64}, Shape{100, 288}, Shape{96, 768}}) {
      const Tensor x = UnitNormal(shape, 7).to(at::kFloat);
      const Tensor values = at::linalg_svdvals(Orthogonalise(x, bfloat16).to(at::kDouble));
      EXPECT_GT(values.min().item<double>(), 0.6817 * (1 - rounding))
          << shape[0] << "x" << shape[1];
      EXPECT_LT(values.max().item<double>(), 1.2025 * (1 + rounding))
          << shape[0] << "x" << shape[1];
    }
  }
}

// AdamW's first update has an RMS of lr; over many steps of noise it is 0.2 to 0.4 of it. Muon's is
// that of an orthogonal matrix of R <= C rows, sqrt(R / (R C)), times lr 0.2 sqrt(C).
TEST(Muon, MovesEveryShapeByAFifthOfTheLearningRate) {
  for (const Shape& shape : {Shape{64, 256}, Shape{256, 64}, Shape{32, 512}}) {
    const Weight weight(at::zeros(shape, at::kDouble));
    weight.gradient.copy_(Normal(shape, 3));
    const MuonMatrix view = weight.view();
    MuonUpdate({.learning_rate = 1e-2}, {&view, 1});
    const double rms = weight.master.square().mean().sqrt().item<double>();
    EXPECT_NEAR(rms, 0.2 * 1e-2, 0.15 * 0.2 * 1e-2) << shape[0] << " x " << shape[1];
  }
}

TEST(Muon, DoesNotMoveWithoutAGradientAndHasNoNaN) {
  for (const bool bfloat16 : {false, true}) {
    const Weight weight(Normal({40, 64}, 1));
    const Tensor before = weight.master.clone();
    const MuonMatrix view = weight.view();
    MuonUpdate({.learning_rate = 1e-2, .bfloat16 = bfloat16}, {&view, 1});
    EXPECT_TRUE(at::equal(weight.master, before));
    EXPECT_EQ(weight.momentum.abs().max().item<float>(), 0);
  }
}

TEST(Muon, DoesNotDependOnTheGradientsLength) {
  const Tensor gradient = Normal({64, 96}, 2).to(at::kFloat);
  std::vector<Tensor> moved;
  for (const double length : {1e-30, 1e-3, 1.0, 1e15}) {
    const Weight weight(at::zeros({64, 96}, at::kDouble));
    weight.gradient.copy_(gradient * length);
    const MuonMatrix view = weight.view();
    MuonUpdate({.learning_rate = 1e-2, .bfloat16 = false}, {&view, 1});
    moved.push_back(weight.master);
  }
  // Below the least norm it fades instead: what is left of a momentum is no direction.
  EXPECT_LT(moved[0].abs().max().item<float>(), 1e-12);
  EXPECT_CLOSE(moved[1], moved[2], 1e-4);
  EXPECT_CLOSE(moved[3], moved[2], 1e-4);
}

TEST(Muon, UpdatesSomeColumnsOfAWiderMatrixAndNoOthers) {
  const Weight wide(Normal({32, 96}, 1)), alone(wide.master.narrow(1, 32, 32));
  const Tensor before = wide.master.clone();
  wide.gradient.copy_(Normal({32, 96}, 2));
  alone.gradient.copy_(wide.gradient.narrow(1, 32, 32));
  MuonMatrix view = wide.view();
  view.master += 32;
  view.gradient += 32;
  view.momentum += 32;
  view.columns = 32;
  const MuonMatrix alone_view = alone.view();
  const Muon muon{.learning_rate = 1e-2, .weight_decay = 0.1};
  MuonUpdate(muon, {&view, 1});
  MuonUpdate(muon, {&alone_view, 1});
  EXPECT_TRUE(at::equal(wide.master.narrow(1, 32, 32), alone.master));
  EXPECT_TRUE(at::equal(wide.momentum.narrow(1, 32, 32), alone.momentum));
  for (const int64_t other : {0, 64}) {
    EXPECT_TRUE(at::equal(wide.master.narrow(1, other, 32), before.narrow(1, other, 32)));
    EXPECT_GT(wide.gradient.narrow(1, other, 32).abs().max().item<float>(), 0);
  }
}

TEST(Muon, GivesTheSameBitsWithOneThreadAndWithTwo) {
  for (const bool bfloat16 : {false, true}) {
    const auto run = [&](int threads) {
      const int before = at::get_num_threads();
      at::set_num_threads(threads);
      std::vector<Weight> weights;
      std::vector<MuonMatrix> views;
      for (const Shape& shape : {Shape{288, 288}, Shape{288, 768}, Shape{768, 288}}) {
        weights.emplace_back(Normal(shape, 1));
        weights.back().gradient.copy_(Normal(shape, 2));
        views.push_back(weights.back().view());
      }
      MuonUpdate({.learning_rate = 1e-2, .bfloat16 = bfloat16}, views);
      at::set_num_threads(before);
      return weights;
    };
    const std::vector<Weight> one = run(1), two = run(2);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(at::equal(one[i].master, two[i].master));
  }
}

}  // namespace
}  // namespace trainyard::worker

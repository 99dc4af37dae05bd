#include "worker/optim/device_update.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/worker/support/autograd.h"
#include "worker/optim/gradient_norm.h"

namespace trainyard::worker {
namespace {

Tensor Floats(at::IntArrayRef shape, uint64_t seed) { return Normal(shape, seed, at::kFloat); }
std::span<float> SpanOf(const Tensor& x) {
  return {x.data_ptr<float>(), static_cast<size_t>(x.numel())};
}

TEST(DeviceUpdate, AdamWIsTheSweepsOverTwentyUpdates) {
  const Tensor master = Floats({37, 29}, 1), moment1 = at::zeros_like(master);
  const Tensor moment2 = at::zeros_like(master), start = master.clone();
  const AdamWTensors tensors{.master = {master.clone()},
                             .gradient = {at::zeros_like(master)},
                             .moment1 = {at::zeros_like(master)},
                             .moment2 = {at::zeros_like(master)}};
  for (int64_t update = 1; update <= 20; ++update) {
    const AdamW adamw{.learning_rate = 1e-2,
                      .weight_decay = 0.1,
                      .gradient_scale = update % 2 == 0 ? 0.5 : 1.0,
                      .update = update};
    const Tensor gradient = Floats({37, 29}, static_cast<uint64_t>(100 + update));
    Tensor(tensors.gradient[0]).copy_(gradient);
    AdamWUpdate(adamw, tensors);
    AdamWUpdate(adamw, SpanOf(master), SpanOf(gradient), SpanOf(moment1), SpanOf(moment2));
  }
  EXPECT_CLOSE(tensors.master[0] - start, master - start, 1e-5);
  EXPECT_CLOSE(tensors.moment1[0], moment1, 1e-5);
  EXPECT_CLOSE(tensors.moment2[0], moment2, 1e-5);
}

TEST(DeviceUpdate, NothingToUpdateIsNoError) {
  AdamWUpdate({.learning_rate = 1}, AdamWTensors{});
  EXPECT_TRUE(Lengths({}).empty());
}

TEST(DeviceUpdate, LengthsAreThoseOfTheSweepsAndShowWhatIsNotFinite) {
  const std::vector<Tensor> tensors = {Floats({1000}, 1), Floats({3, 5}, 2), Floats({7}, 3)};
  tensors[2][4] = std::numeric_limits<float>::infinity();
  const std::vector<double> lengths = Lengths(tensors);
  for (const size_t i : {0u, 1u}) {
    EXPECT_NEAR(lengths[i], std::sqrt(SumOfSquares(SpanOf(tensors[i]))), 1e-6 * lengths[i]);
  }
  EXPECT_FALSE(std::isfinite(lengths[2]));
}

TEST(DeviceUpdate, MuonIsTheSweepsAlsoForSomeColumnsOfAWiderMatrix) {
  for (const bool bfloat16 : {false, true}) {
    const Tensor master = Floats({48, 96}, 1), momentum = Floats({48, 96}, 2);
    const Tensor gradient = Floats({48, 96}, 3);
    const MuonTensors tensors{.master = master.clone().narrow(1, 32, 64),
                              .gradient = gradient.clone().narrow(1, 32, 64),
                              .momentum = momentum.clone().narrow(1, 32, 64)};
    const Tensor start = tensors.master.clone();
    const Muon muon{
        .learning_rate = 0.01, .weight_decay = 0.1, .gradient_scale = 0.5, .bfloat16 = bfloat16};
    MuonUpdate(muon, std::vector{tensors});
    MuonUpdate(muon, std::vector{MuonMatrix{.master = master.data_ptr<float>() + 32,
                                            .gradient = gradient.data_ptr<float>() + 32,
                                            .momentum = momentum.data_ptr<float>() + 32,
                                            .rows = 48,
                                            .columns = 64,
                                            .stride = 96}});
    // The look ahead is rounded in another order (6e-8), which five steps of the iteration make up
    // to 3.4445^5 = 485 times as large where singular values are small.
    EXPECT_CLOSE(tensors.master - start, master.narrow(1, 32, 64) - start, bfloat16 ? 1e-2 : 1e-4);
    EXPECT_CLOSE(tensors.momentum, momentum.narrow(1, 32, 64), 1e-6);
  }
}

}  // namespace
}  // namespace trainyard::worker

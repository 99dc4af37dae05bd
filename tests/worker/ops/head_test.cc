#include "worker/ops/head.h"

#include <gtest/gtest.h>

#include "tests/worker/support/autograd.h"

namespace trainyard::worker {
namespace {

struct Problem {
  Tensor hidden, weight, target, dlogprob, dentropy;
};

Problem MakeProblem(int64_t tokens, int64_t vocab) {
  return {.hidden = Normal({tokens, 6}, 1),
          .weight = Normal({vocab, 6}, 2),
          .target = at::arange(tokens, at::kLong).mul(7).remainder(vocab),
          .dlogprob = Normal({tokens}, 3),
          .dentropy = Normal({tokens}, 4)};
}

Tensor LogSoftmax(const std::vector<Tensor>& in) { return in[0].matmul(in[1].t()).log_softmax(-1); }
Tensor Logprob(const Tensor& logp, const Tensor& target) {
  return logp.gather(1, target.unsqueeze(1)).squeeze(1);
}
Tensor Entropy(const Tensor& logp) { return -(logp.exp() * logp).sum(-1); }

// 3,000 tokens of 5,000 words are more than one chunk; 9 of 11 fit one.
class Head : public testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(Head, OneSweepAgreesWithAutograd) {
  const Problem p = MakeProblem(GetParam().first, GetParam().second);
  const OracleResult oracle = Oracle(
      [&](const std::vector<Tensor>& in) {
        return (Logprob(LogSoftmax(in), p.target) * p.dlogprob).sum();
      },
      {p.hidden, p.weight});
  const Tensor dweight = at::zeros_like(p.weight);
  const HeadResult result = HeadForwardBackward(
      p.hidden, {.weight_VD = p.weight, .dweight_VD = dweight}, p.target, p.dlogprob);
  const Tensor logp = LogSoftmax({p.hidden, p.weight});
  EXPECT_CLOSE(result.signals.logprob_N, Logprob(logp, p.target), kExact);
  EXPECT_TRUE(at::equal(result.signals.argmax_match_N, logp.argmax(-1) == p.target));
  EXPECT_CLOSE(result.dhidden_ND, oracle.gradients[0], kExact);
  EXPECT_CLOSE(dweight, oracle.gradients[1], kExact);
}

TEST_P(Head, TwoSweepsAgreeWithAutogradEntropyIncluded) {
  const Problem p = MakeProblem(GetParam().first, GetParam().second);
  const OracleResult oracle = Oracle(
      [&](const std::vector<Tensor>& in) {
        const Tensor logp = LogSoftmax(in);
        return (Logprob(logp, p.target) * p.dlogprob + Entropy(logp) * p.dentropy).sum();
      },
      {p.hidden, p.weight});
  const HeadSignals signals = HeadForward(p.hidden, {p.weight}, p.target);
  const Tensor logp = LogSoftmax({p.hidden, p.weight});
  EXPECT_CLOSE(signals.logprob_N, Logprob(logp, p.target), kExact);
  EXPECT_CLOSE(signals.entropy_N, Entropy(logp), kExact);
  EXPECT_TRUE(at::equal(signals.argmax_match_N, logp.argmax(-1) == p.target));
  const Tensor dweight = at::zeros_like(p.weight);
  EXPECT_CLOSE(HeadBackward(p.hidden, {.weight_VD = p.weight, .dweight_VD = dweight}, p.target,
                            signals, p.dlogprob, p.dentropy),
               oracle.gradients[0], kExact);
  EXPECT_CLOSE(dweight, oracle.gradients[1], kExact);
}

TEST_P(Head, OneSweepAndTwoAgree) {
  const Problem p = MakeProblem(GetParam().first, GetParam().second);
  const Tensor dweight1 = at::zeros_like(p.weight), dweight2 = at::zeros_like(p.weight);
  const HeadResult one = HeadForwardBackward(
      p.hidden, {.weight_VD = p.weight, .dweight_VD = dweight1}, p.target, p.dlogprob);
  const HeadSignals signals = HeadForward(p.hidden, {p.weight}, p.target);
  EXPECT_CLOSE(HeadBackward(p.hidden, {.weight_VD = p.weight, .dweight_VD = dweight2}, p.target,
                            signals, p.dlogprob, {}),
               one.dhidden_ND, kExact);
  EXPECT_CLOSE(dweight2, dweight1, kExact);
}

TEST_P(Head, WithABiasAndACapAgreesWithAutograd) {
  const Problem p = MakeProblem(GetParam().first, GetParam().second);
  const Tensor bias = Normal({p.weight.size(0)}, 5);
  for (const double softcap : {0.0, 1.5}) {
    const OracleResult oracle = Oracle(
        [&](const std::vector<Tensor>& in) {
          Tensor z = in[0].matmul(in[1].t()) + in[2];
          if (softcap != 0) z = softcap * (z / softcap).tanh();
          return (Logprob(z.log_softmax(-1), p.target) * p.dlogprob).sum();
        },
        {p.hidden, p.weight, bias});
    const HeadWeights head{.weight_VD = p.weight,
                           .bias_V = bias,
                           .softcap = softcap,
                           .dweight_VD = at::zeros_like(p.weight),
                           .dbias_V = at::zeros_like(bias)};
    const HeadResult one = HeadForwardBackward(p.hidden, head, p.target, p.dlogprob);
    EXPECT_CLOSE(one.dhidden_ND, oracle.gradients[0], kExact);
    EXPECT_CLOSE(head.dweight_VD, oracle.gradients[1], kExact);
    EXPECT_CLOSE(head.dbias_V, oracle.gradients[2], kExact);
  }
}

INSTANTIATE_TEST_SUITE_P(Chunks, Head, testing::Values(std::pair{9, 11}, std::pair{3000, 5000}));

TEST(HeadStability, SurvivesLogitsThatExpCannotHold) {
  const Tensor hidden = at::full({1, 1}, 1.0F),
               weight = at::tensor({2000.0F, -2000.0F}).view({2, 1});
  const Tensor target = at::tensor({1}, at::kLong);
  const HeadSignals signals = HeadForward(hidden, {weight}, target);
  EXPECT_EQ(signals.logprob_N.item<float>(), -4000.0F);
  EXPECT_EQ(signals.entropy_N.item<float>(), 0.0F);
  const Tensor dweight = at::zeros_like(weight);
  const HeadResult result = HeadForwardBackward(
      hidden, {.weight_VD = weight, .dweight_VD = dweight}, target, at::ones({1}));
  EXPECT_EQ(result.signals.logprob_N.item<float>(), -4000.0F);
  EXPECT_TRUE(dweight.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace trainyard::worker

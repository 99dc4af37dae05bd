#include "worker/ops/head.h"

#include <algorithm>

#include "worker/ops/linear.h"

namespace trainyard::worker {
namespace {

// Logits held at once: 16 MiB in float32. Fewer make the products too flat, more leave the cache.
constexpr int64_t kChunkLogits = int64_t{4} << 20;

// Calls visit(first token, tokens) for each chunk.
template <class Visit>
void ForEachChunk(int64_t tokens, int64_t vocab, Visit visit) {
  const int64_t chunk = std::max<int64_t>(1, kChunkLogits / vocab);
  for (int64_t first = 0; first < tokens; first += chunk) {
    visit(first, std::min(chunk, tokens - first));
  }
}

HeadSignals EmptySignals(const Tensor& hidden_ND) {
  const auto options = hidden_ND.options().dtype(WideType(hidden_ND.scalar_type()));
  const int64_t tokens = hidden_ND.size(0);
  return {.logprob_N = at::empty({tokens}, options),
          .entropy_N = {},
          .argmax_match_N = at::empty({tokens}, options.dtype(at::kBool)),
          .logsumexp_N = at::empty({tokens}, options)};
}

// Fills the chunk's signals and replaces the logits by z - max z; returns sum exp(z - max z).
struct Softmax {
  Tensor exp_CV;
  Tensor sum_C1;
};
Softmax ReadSignals(Tensor& logit_CV, const Tensor& target_C1, bool keep_logits, int64_t first,
                    HeadSignals& signals) {
  const int64_t tokens = logit_CV.size(0);
  const Tensor max_C1 = logit_CV.amax(1, /*keepdim=*/true);
  const Tensor target_logit_C1 = logit_CV.gather(1, target_C1);
  logit_CV.sub_(max_C1);
  const Tensor exp_CV = keep_logits ? logit_CV.exp() : logit_CV.exp_();
  const Tensor sum_C1 = exp_CV.sum(1, /*keepdim=*/true);
  const Tensor logsumexp_C1 = sum_C1.log().add_(max_C1);
  signals.logsumexp_N.narrow(0, first, tokens).copy_(logsumexp_C1.squeeze(1));
  signals.logprob_N.narrow(0, first, tokens).copy_((target_logit_C1 - logsumexp_C1).squeeze(1));
  signals.argmax_match_N.narrow(0, first, tokens).copy_((target_logit_C1 >= max_C1).squeeze(1));
  return {exp_CV, sum_C1};
}

// dhidden = dz W and dW += dz^T hidden.
void PushBack(const Tensor& dlogit_CV, const Tensor& hidden_CD, const Tensor& weight_VD,
              const Tensor& dhidden_CD, const Tensor& dweight_VD) {
  const Tensor narrow_CV = dlogit_CV.to(hidden_CD.scalar_type());
  AddProduct(dweight_VD, narrow_CV.t(), hidden_CD);
  dhidden_CD.copy_(Product(narrow_CV, weight_VD));
}

}  // namespace

Tensor HeadLogits(const Tensor& hidden_CD, const Tensor& weight_VD) {
  return Widen(Product(hidden_CD, weight_VD.t()));
}

HeadSignals HeadForward(const Tensor& hidden_ND, const Tensor& weight_VD, const Tensor& target_N) {
  HeadSignals signals = EmptySignals(hidden_ND);
  signals.entropy_N = at::empty_like(signals.logprob_N);
  ForEachChunk(hidden_ND.size(0), weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    Tensor logit_CV = HeadLogits(hidden_ND.narrow(0, first, tokens), weight_VD);
    const Tensor target_C1 = target_N.narrow(0, first, tokens).unsqueeze(1);
    const Softmax softmax = ReadSignals(logit_CV, target_C1, /*keep_logits=*/true, first, signals);
    // entropy = log sum - (sum e z') / sum, with z' = z - max and e = exp z'.
    const Tensor weighted_C1 = logit_CV.mul_(softmax.exp_CV).sum(1, /*keepdim=*/true);
    signals.entropy_N.narrow(0, first, tokens)
        .copy_((softmax.sum_C1.log() - weighted_C1 / softmax.sum_C1).squeeze(1));
  });
  return signals;
}

Tensor HeadBackward(const Tensor& hidden_ND, const Tensor& weight_VD, const Tensor& target_N,
                    const HeadSignals& signals, const Tensor& dlogprob_N, const Tensor& dentropy_N,
                    const Tensor& dweight_VD) {
  Tensor dhidden_ND = at::empty_like(hidden_ND);
  ForEachChunk(hidden_ND.size(0), weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    const auto part = [&](const Tensor& x_N) { return x_N.narrow(0, first, tokens).unsqueeze(1); };
    const Tensor hidden_CD = hidden_ND.narrow(0, first, tokens);
    const Tensor dlogprob_C1 = part(dlogprob_N);
    Tensor dlogit_CV = HeadLogits(hidden_CD, weight_VD).sub_(part(signals.logsumexp_N));  // log p
    if (dentropy_N.defined()) {
      const Tensor p_CV = dlogit_CV.exp();
      dlogit_CV.add_(part(signals.entropy_N)).mul_(part(dentropy_N)).add_(dlogprob_C1).mul_(p_CV);
    } else {
      dlogit_CV.exp_().mul_(dlogprob_C1);
    }
    dlogit_CV.neg_().scatter_add_(1, part(target_N), dlogprob_C1);
    PushBack(dlogit_CV, hidden_CD, weight_VD, dhidden_ND.narrow(0, first, tokens), dweight_VD);
  });
  return dhidden_ND;
}

HeadResult HeadForwardBackward(const Tensor& hidden_ND, const Tensor& weight_VD,
                               const Tensor& target_N, const Tensor& dlogprob_N,
                               const Tensor& dweight_VD) {
  HeadResult result{EmptySignals(hidden_ND), at::empty_like(hidden_ND)};
  ForEachChunk(hidden_ND.size(0), weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    const Tensor hidden_CD = hidden_ND.narrow(0, first, tokens);
    const Tensor target_C1 = target_N.narrow(0, first, tokens).unsqueeze(1);
    const Tensor dlogprob_C1 = dlogprob_N.narrow(0, first, tokens).unsqueeze(1);
    Tensor logit_CV = HeadLogits(hidden_CD, weight_VD);
    Softmax softmax =
        ReadSignals(logit_CV, target_C1, /*keep_logits=*/false, first, result.signals);
    Tensor& dlogit_CV = softmax.exp_CV;
    dlogit_CV.mul_(dlogprob_C1 / softmax.sum_C1.neg()).scatter_add_(1, target_C1, dlogprob_C1);
    PushBack(dlogit_CV, hidden_CD, weight_VD, result.dhidden_ND.narrow(0, first, tokens),
             dweight_VD);
  });
  return result;
}

}  // namespace trainyard::worker

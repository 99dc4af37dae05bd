#include "worker/ops/head.h"

#include <algorithm>
#include <utility>

#include "worker/ops/dispatch.h"
#include "worker/ops/linear.h"

namespace trainyard::worker {
namespace {

// Fewer tokens make the products too flat (each packs the whole head), more leave the cache.
constexpr int64_t kChunkTokens = 512;
// Logits held at once, in float32: 256 MiB at most. A GPU has no such cache, and each chunk goes
// over the whole gradient of the head: there it is 1 GiB.
constexpr int64_t kChunkLogitsMax = int64_t{64} << 20;
constexpr int64_t kGpuChunkLogitsMax = int64_t{256} << 20;

// Calls visit(first token, tokens) for each chunk.
template <class Visit>
void ForEachChunk(const Tensor& hidden_ND, int64_t vocab, Visit visit) {
  const int64_t tokens = hidden_ND.size(0);
  const int64_t chunk = hidden_ND.is_cuda()
                            ? std::max<int64_t>(kGpuChunkLogitsMax / vocab, 1)
                            : std::clamp<int64_t>(kChunkLogitsMax / vocab, 1, kChunkTokens);
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

void AddBiasGradient(const HeadWeights& head, const Tensor& dlogit_CV) {
  if (!head.dbias_V.defined()) return;
  Tensor(head.dbias_V)
      .add_(at::sum(dlogit_CV.narrow(1, 0, head.dbias_V.size(0)), {0}, /*keepdim=*/false,
                    head.dbias_V.scalar_type()));
}

// dhidden = dz W, dW += dz^T hidden and db += sum dz. dz may have a column of zeros beyond V.
void PushBack(const Tensor& dlogit_CV, const Tensor& hidden_CD, const HeadWeights& head,
              const Tensor& dhidden_CD) {
  AddBiasGradient(head, dlogit_CV);
  const Tensor narrow_CV = dlogit_CV.to(hidden_CD.scalar_type());
  AddGradientProduct(head.dweight_VD, narrow_CV.narrow(1, 0, head.weight_VD.size(0)), hidden_CD);
  dhidden_CD.copy_(Product(narrow_CV, head.weight_VD));
}

// Of z = c tanh(x / c) by x.
Tensor SlopeOfCap(const Tensor& z_CV, double softcap) {
  return (z_CV / softcap).square_().neg_().add_(1);
}

bool ByKernel(const Tensor& hidden_ND) { return OnKernels(hidden_ND); }

// The signals of a chunk from its logits, which it overwrites; with `dlogprob_N` (defined) also
// their gradient, in the logits' memory: [tokens, V], the last column zero where V is odd.
template <class Real>
Tensor ReadChunk(const Tensor& logit_CV, const Tensor& target_N, const Tensor& dlogprob_N,
                 int64_t first, HeadSignals& signals) {
  const int64_t tokens = logit_CV.size(0), vocab = logit_CV.size(1);
  const bool wants_gradient = dlogprob_N.defined();
  constexpr int64_t kPerFloat = sizeof(float) / sizeof(Real);
  const int64_t columns = kPerFloat == 1 ? vocab : (vocab + 1) / 2 * 2;
  auto* dlogit = reinterpret_cast<Real*>(Out<float>(logit_CV));
  const auto at = [&](const Tensor& x_N) {
    return x_N.defined() ? Out<float>(x_N) + first : nullptr;
  };
  HeadChunkCpu(
      HeadChunkArgs<Real>{.logit_CV = Out<float>(logit_CV),
                          .target_C = In<int64_t>(target_N) + first,
                          .dlogprob_C = wants_gradient ? In<float>(dlogprob_N) + first : nullptr,
                          .tokens = tokens,
                          .vocab = vocab,
                          .logprob_C = at(signals.logprob_N),
                          .argmax_match_C = Out<bool>(signals.argmax_match_N) + first,
                          .logsumexp_C = at(signals.logsumexp_N),
                          .entropy_C = at(signals.entropy_N),
                          .dlogit_CV = wants_gradient ? dlogit : nullptr,
                          .dlogit_stride = kPerFloat * vocab,
                          .dlogit_columns = columns});
  if (!wants_gradient) return {};
  return at::from_blob(dlogit, {tokens, columns}, {kPerFloat * vocab, 1},
                       logit_CV.options().dtype(c10::CppTypeToScalarType<Real>::value));
}

// Signals and gradients of a chunk on a GPU, with few passes over the logits. The gradient by the
// logits is d (1 - p) at the target and -d p elsewhere: p - [target] is kept in bfloat16, its
// target's element rounded only once, and -d multiplies what is small.
void SweepOnGpu(const Tensor& hidden_CD, const HeadWeights& head, const Tensor& target_C1,
                const Tensor& dlogprob_C1, int64_t first, HeadSignals& signals,
                const Tensor& dhidden_CD) {
  const auto part = [&](const Tensor& x_N) {
    return x_N.narrow(0, first, hidden_CD.size(0)).unsqueeze(1);
  };
  const Tensor logit_CV = HeadLogits(hidden_CD, head);
  const Tensor log_p_CV = at::log_softmax(logit_CV, 1);
  const Tensor logprob_C1 = log_p_CV.gather(1, target_C1);
  part(signals.logprob_N).copy_(logprob_C1);
  part(signals.argmax_match_N).copy_(logprob_C1 >= log_p_CV.amax(1, /*keepdim=*/true));
  part(signals.logsumexp_N).copy_(logit_CV.gather(1, target_C1) - logprob_C1);

  const auto type = hidden_CD.scalar_type();
  Tensor excess_CV = at::empty(log_p_CV.sizes(), hidden_CD.options());  // p - [target]
  at::exp_out(excess_CV, log_p_CV);
  excess_CV.scatter_(1, target_C1, at::expm1(logprob_C1).to(type));
  if (head.dbias_V.defined()) AddBiasGradient(head, excess_CV * -dlogprob_C1);
  AddGradientProduct(head.dweight_VD, excess_CV, (hidden_CD * -dlogprob_C1).to(type));
  dhidden_CD.copy_(WideProduct(excess_CV, head.weight_VD).mul_(-dlogprob_C1));
}

}  // namespace

Tensor HeadLogits(const Tensor& hidden_CD, const HeadWeights& head) {
  Tensor logit_CV = WideProduct(hidden_CD, head.weight_VD.t());
  if (head.bias_V.defined()) logit_CV.add_(head.bias_V);
  if (head.softcap != 0) logit_CV.div_(head.softcap).tanh_().mul_(head.softcap);
  return logit_CV;
}

HeadSignals HeadForward(const Tensor& hidden_ND, const HeadWeights& head, const Tensor& target_N) {
  HeadSignals signals = EmptySignals(hidden_ND);
  signals.entropy_N = at::empty_like(signals.logprob_N);
  ForEachChunk(hidden_ND, head.weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    Tensor logit_CV = HeadLogits(hidden_ND.narrow(0, first, tokens), head);
    if (ByKernel(hidden_ND)) {
      ReadChunk<float>(logit_CV, target_N, {}, first, signals);
      return;
    }
    const Tensor target_C1 = target_N.narrow(0, first, tokens).unsqueeze(1);
    const Softmax softmax = ReadSignals(logit_CV, target_C1, /*keep_logits=*/true, first, signals);
    // entropy = log sum - (sum e z') / sum, with z' = z - max and e = exp z'.
    const Tensor weighted_C1 = logit_CV.mul_(softmax.exp_CV).sum(1, /*keepdim=*/true);
    signals.entropy_N.narrow(0, first, tokens)
        .copy_((softmax.sum_C1.log() - weighted_C1 / softmax.sum_C1).squeeze(1));
  });
  return signals;
}

Tensor HeadBackward(const Tensor& hidden_ND, const HeadWeights& head, const Tensor& target_N,
                    const HeadSignals& signals, const Tensor& dlogprob_N,
                    const Tensor& dentropy_N) {
  Tensor dhidden_ND = at::empty_like(hidden_ND);
  ForEachChunk(hidden_ND, head.weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    const auto part = [&](const Tensor& x_N) { return x_N.narrow(0, first, tokens).unsqueeze(1); };
    const Tensor hidden_CD = hidden_ND.narrow(0, first, tokens);
    const Tensor dlogprob_C1 = part(dlogprob_N);
    Tensor dlogit_CV = HeadLogits(hidden_CD, head);
    const Tensor uncapped_CV = head.softcap == 0 ? Tensor() : SlopeOfCap(dlogit_CV, head.softcap);
    dlogit_CV.sub_(part(signals.logsumexp_N));  // log p
    if (dentropy_N.defined()) {
      const Tensor p_CV = dlogit_CV.exp();
      dlogit_CV.add_(part(signals.entropy_N)).mul_(part(dentropy_N)).add_(dlogprob_C1).mul_(p_CV);
    } else {
      dlogit_CV.exp_().mul_(dlogprob_C1);
    }
    dlogit_CV.neg_().scatter_add_(1, part(target_N), dlogprob_C1);
    if (uncapped_CV.defined()) dlogit_CV.mul_(uncapped_CV);
    PushBack(dlogit_CV, hidden_CD, head, dhidden_ND.narrow(0, first, tokens));
  });
  return dhidden_ND;
}

HeadResult HeadForwardBackward(const Tensor& hidden_ND, const HeadWeights& head,
                               const Tensor& target_N, const Tensor& dlogprob_N) {
  if (head.softcap != 0) {
    // The gradient needs the logits, which a single sweep overwrites.
    HeadSignals signals = HeadForward(hidden_ND, head, target_N);
    Tensor dhidden_ND = HeadBackward(hidden_ND, head, target_N, signals, dlogprob_N, {});
    return {std::move(signals), std::move(dhidden_ND)};
  }
  HeadResult result{EmptySignals(hidden_ND), at::empty_like(hidden_ND)};
  ForEachChunk(hidden_ND, head.weight_VD.size(0), [&](int64_t first, int64_t tokens) {
    const Tensor hidden_CD = hidden_ND.narrow(0, first, tokens);
    const Tensor target_C1 = target_N.narrow(0, first, tokens).unsqueeze(1);
    const Tensor dlogprob_C1 = dlogprob_N.narrow(0, first, tokens).unsqueeze(1);
    const Tensor dhidden_CD = result.dhidden_ND.narrow(0, first, tokens);
    if (hidden_ND.is_cuda()) {
      SweepOnGpu(hidden_CD, head, target_C1, dlogprob_C1, first, result.signals, dhidden_CD);
      return;
    }
    Tensor logit_CV = HeadLogits(hidden_CD, head);
    if (ByKernel(hidden_ND)) {
      const Tensor dlogit_CV = WithReal(hidden_ND, [&]<class Real>(RealTag<Real>) {
        return ReadChunk<Real>(logit_CV, target_N, dlogprob_N, first, result.signals);
      });
      PushBack(dlogit_CV, hidden_CD, head, dhidden_CD);
      return;
    }
    Softmax softmax =
        ReadSignals(logit_CV, target_C1, /*keep_logits=*/false, first, result.signals);
    Tensor& dlogit_CV = softmax.exp_CV;
    dlogit_CV.mul_(dlogprob_C1 / softmax.sum_C1.neg()).scatter_add_(1, target_C1, dlogprob_C1);
    PushBack(dlogit_CV, hidden_CD, head, dhidden_CD);
  });
  return result;
}

}  // namespace trainyard::worker

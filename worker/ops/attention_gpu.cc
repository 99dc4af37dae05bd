#include "worker/ops/attention_gpu.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "worker/ops/attention_runs.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kFlashWidthStep = 8;
constexpr int64_t kFlashWidthMax = 256;
constexpr int64_t kScoresMax = int64_t{64} << 20;  // held at once

int64_t LongestOf(const std::vector<int32_t>& cu_seqlens) {
  int32_t longest = 0;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    longest = std::max(longest, cu_seqlens[i + 1] - cu_seqlens[i]);
  }
  return longest;
}

// The packed queries, keys and values as [T, heads, H], without a copy.
Packed SplitTokens(const Tensor& qkv_TE, const AttentionShape& shape) {
  const Tensor x = qkv_TE.view({qkv_TE.size(0), shape.heads + 2 * shape.kv_heads, shape.width});
  return {x.narrow(1, 0, shape.heads), x.narrow(1, shape.heads, shape.kv_heads),
          x.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads)};
}

// While one lives, ATen's operations give the same bits in every run, or refuse.
class SameBits {
 public:
  SameBits() {
    at::globalContext().setDeterministicAlgorithms(/*enabled=*/true, /*warn_only=*/false);
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  }
  SameBits(const SameBits&) = delete;
  SameBits& operator=(const SameBits&) = delete;
  ~SameBits() { at::globalContext().setDeterministicAlgorithms(false, false); }
};

std::vector<Run> FormulaRuns(const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape) {
  const int64_t longest = std::max<int64_t>(LongestOf(cu_seqlens), 1);
  return RunsOf(cu_seqlens, std::max<int64_t>(kScoresMax / (shape.heads * longest * longest), 1));
}

// [length, length] true where a token may not look.
Tensor Unseen(int64_t length, const AttentionShape& shape, const Tensor& like) {
  const Tensor all_TT = at::ones({length, length}, like.options().dtype(at::kBool));
  Tensor unseen_TT = shape.causal ? all_TT.triu(1) : at::zeros_like(all_TT);
  if (shape.window == 0) return unseen_TT;
  if (!shape.causal) unseen_TT.logical_or_(all_TT.triu(shape.window));
  return unseen_TT.logical_or_(all_TT.tril(-shape.window));
}

// scale q k^T, capped, minus infinity where a token may not look.
Tensor Scores(const Packed& in, const AttentionShape& shape) {
  Tensor score_SQTT = at::matmul(in.query_SQTH, Repeat(in.key_SKTH, shape).transpose(2, 3))
                          .mul_(shape.score_scale());
  if (shape.softcap != 0) score_SQTT.div_(shape.softcap).tanh_().mul_(shape.softcap);
  return score_SQTT.masked_fill_(Unseen(score_SQTT.size(2), shape, score_SQTT),
                                 -std::numeric_limits<double>::infinity());
}

}  // namespace

bool FlashTakes(const Tensor& qkv_TE, const AttentionShape& shape) {
  return qkv_TE.is_cuda() && qkv_TE.scalar_type() == at::kBFloat16 &&
         shape.width % kFlashWidthStep == 0 && shape.width <= kFlashWidthMax &&
         shape.softcap == 0 && shape.window == 0;
}

Tensor FlashAttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                             const AttentionShape& shape, AttentionSaved& saved) {
  const Tensor cu_seqlens_S = ToDevice(at::tensor(cu_seqlens, at::kInt), qkv_TE.device());
  const int64_t longest = LongestOf(cu_seqlens);
  const Packed in = SplitTokens(qkv_TE, shape);
  auto [out_TQH, logsumexp_QT, rng_state, unused, mask] = at::_flash_attention_forward(
      in.query_SQTH, in.key_SKTH, in.value_SKTH, cu_seqlens_S, cu_seqlens_S, longest, longest,
      /*dropout_p=*/0.0, shape.causal, /*return_debug_mask=*/false, shape.score_scale());
  saved.out_TO = out_TQH.reshape({qkv_TE.size(0), shape.heads * shape.width});
  saved.logsumexp = {logsumexp_QT};
  saved.of_flash = {cu_seqlens_S, rng_state, unused};
  return saved.out_TO;
}

Tensor FlashAttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                              const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                              const AttentionSaved& saved) {
  const SameBits same_bits;
  const int64_t longest = LongestOf(cu_seqlens);
  const Packed in = SplitTokens(qkv_TE, shape);
  const auto by_head = [&](const Tensor& x_TO) {
    return x_TO.view({x_TO.size(0), shape.heads, shape.width});
  };
  const auto [dquery_TQH, dkey_TKH, dvalue_TKH] = at::_flash_attention_backward(
      by_head(dout_TO), in.query_SQTH, in.key_SKTH, in.value_SKTH, by_head(saved.out_TO),
      saved.logsumexp[0], saved.of_flash[0], saved.of_flash[0], longest, longest,
      /*dropout_p=*/0.0, shape.causal, saved.of_flash[1], saved.of_flash[2], shape.score_scale());
  return at::cat({dquery_TQH, dkey_TKH, dvalue_TKH}, 1).view_as(qkv_TE);
}

Tensor FormulaAttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                               const AttentionShape& shape, AttentionSaved& saved) {
  const Tensor wide_TE = Widen(qkv_TE);
  Tensor out_TO = at::empty({qkv_TE.size(0), shape.heads * shape.width}, wide_TE.options());
  saved.logsumexp.clear();
  for (const Run& run : FormulaRuns(cu_seqlens, shape)) {
    const Packed in = Split(wide_TE, run, shape);
    Tensor score_SQTT = Scores(in, shape);
    const Tensor logsumexp_SQT = at::logsumexp(score_SQTT, -1);
    score_SQTT.sub_(logsumexp_SQT.unsqueeze(-1)).exp_();
    HeadsOf(out_TO, run, 0, shape.heads, shape.width)
        .copy_(at::matmul(score_SQTT, Repeat(in.value_SKTH, shape)));
    saved.logsumexp.push_back(logsumexp_SQT);
  }
  saved.out_TO = out_TO.to(qkv_TE.scalar_type());
  return saved.out_TO;
}

// With P = softmax of the scores S:  dV = P^T dO,  dP = dO V^T,  dS = P (dP - sum_H dO O), times
// 1 - (S / c)^2 where they are capped at c;  dQ = scale dS K,  dK = scale dS^T Q.
Tensor FormulaAttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                                const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                                const AttentionSaved& saved) {
  const Tensor wide_TE = Widen(qkv_TE), wide_dout_TO = Widen(dout_TO);
  const Tensor wide_out_TO = Widen(saved.out_TO);
  Tensor dqkv_TE = at::empty_like(wide_TE);
  const auto runs = FormulaRuns(cu_seqlens, shape);
  for (size_t i = 0; i < runs.size(); ++i) {
    const Packed in = Split(wide_TE, runs[i], shape), out = Split(dqkv_TE, runs[i], shape);
    const auto by_head = [&](const Tensor& x_TO) {
      return HeadsOf(x_TO, runs[i], 0, shape.heads, shape.width);
    };
    const Tensor dout_SQTH = by_head(wide_dout_TO);
    const Tensor score_SQTT = Scores(in, shape);
    const Tensor p_SQTT = (score_SQTT - saved.logsumexp[i].unsqueeze(-1)).exp_();
    out.value_SKTH.copy_(Gather(at::matmul(p_SQTT.transpose(2, 3), dout_SQTH), shape));
    const Tensor delta_SQT1 = (dout_SQTH * by_head(wide_out_TO)).sum(-1, /*keepdim=*/true);
    Tensor dscore_SQTT = at::matmul(dout_SQTH, Repeat(in.value_SKTH, shape).transpose(2, 3))
                             .sub_(delta_SQT1)
                             .mul_(p_SQTT)
                             .mul_(shape.score_scale());
    if (shape.softcap != 0) {
      // A hidden score is minus infinity: its slope is 0.
      dscore_SQTT.mul_(1 - (score_SQTT / shape.softcap).square_().clamp_max_(1));
    }
    out.query_SQTH.copy_(at::matmul(dscore_SQTT, Repeat(in.key_SKTH, shape)));
    out.key_SKTH.copy_(Gather(at::matmul(dscore_SQTT.transpose(2, 3), in.query_SQTH), shape));
  }
  return dqkv_TE.to(qkv_TE.scalar_type());
}

}  // namespace trainyard::worker

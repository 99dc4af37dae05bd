// Attention backward, transposed as attention_forward_cpu.cc:
//   P from S^T and logsumexp,  dP^T = V dO^T,  dS = P (dP - rowsum(dO O)) scale,
//   dV += P^T dO,  dK += dS^T Q,  dQ^T = K^T dS^T
// and with scores capped at c, dS times 1 - (S / c)^2.
#include <ATen/Parallel.h>

#include <cmath>

#include "worker/ops/attention_buffers.h"
#include "worker/ops/attention_cpu.h"
#include "worker/ops/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/attention_backward_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/attention_blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// P and dS of a block, in the forms that the three products want.
template <class Real>
void GradientBlock(const AttentionLayout& layout, const AttentionBuffers<Real>& b, int64_t keys) {
  const Floats d;
  const float scale = ScaleInSoftmax(layout);
  const bool capped = layout.softcap != 0;
  const float per_cap = capped ? 1.0F / layout.softcap : 0.0F;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < kQueries; i += lanes) {
    const auto logsumexp = hn::LoadU(d, b.logsumexp_Q + i), delta = hn::LoadU(d, b.delta_Q + i);
    for (int64_t k = 0; k < keys; k += 2) {
      hn::Vec<Floats> ds[2];
      for (int64_t row = k; row < k + 2; ++row) {
        const int64_t at = row * kQueries + i;
        const auto score = hn::LoadU(d, b.score_KQ + at);
        const auto p = Exp(d, hn::MulSub(score, hn::Set(d, scale), logsumexp));
        const auto slope = hn::Sub(hn::LoadU(d, b.dp_KQ + at), delta);
        ds[row - k] = hn::Mul(hn::Mul(p, slope), hn::Set(d, layout.scale));
        if (capped) {
          // A hidden score is minus infinity: its slope is 0, not NaN.
          const auto ratio = hn::Mul(score, hn::Set(d, per_cap));
          const auto one = hn::Set(d, 1.0F);
          ds[row - k] = hn::Mul(ds[row - k], hn::Sub(one, hn::Min(one, hn::Mul(ratio, ratio))));
        }
        StoreFloats(p, d, b.p_KQ + at);
        StoreFloats(ds[row - k], d, b.ds_KQ + at);
      }
      StoreOperand(d, ds[0], ds[1], k, i, b.ds_pairs_KQ);
    }
  }
}

// Loads a block of queries with its output's gradient, logsumexp and delta = rowsum(dO O).
template <class Real>
void LoadQueries(const AttentionBackwardArgs<Real>& a, const AttentionPart& part, int64_t head,
                 int64_t q, int64_t rows, const AttentionBuffers<Real>& b) {
  const AttentionLayout& l = a.layout;
  const int64_t h = l.width, stride = l.packed_width(), out_stride = l.heads * h;
  const int64_t token = part.first_token + q;
  CopyRows(a.qkv_TE + token * stride + head * h, stride, rows, kQueries, h, b.rows_QH);
  OperandOfTransposed(b.rows_QH, h, b.query_HQ);
  OperandOf(b.rows_QH, h, b.query_QH);
  const Real* dout = a.dout_TO + token * out_stride + head * h;
  CopyRows(dout, out_stride, rows, kQueries, h, b.rows_QH);
  OperandOfTransposed(b.rows_QH, h, b.dout_HQ);
  OperandOf(b.rows_QH, h, b.dout_QH);
  // A padded query has an infinite logsumexp, and so no probabilities.
  std::fill_n(b.logsumexp_Q, kQueries, -kNever);
  std::fill_n(b.delta_Q, kQueries, 0.0F);
  for (int64_t r = 0; r < rows; ++r) {
    const Real* out = a.out_TO + (token + r) * out_stride + head * h;
    LaneSum delta;
    ForLanes(h, [&](auto d, int64_t i) HWY_ATTR {
      delta.MulAdd(d, LoadFloats(d, out + i), LoadFloats(d, dout + r * out_stride + i));
    });
    b.delta_Q[r] = delta.Total();
    b.logsumexp_Q[r] = a.logsumexp_QT[head * l.tokens() + token + r];
  }
}

template <class Real>
void BackwardPart(const AttentionBackwardArgs<Real>& a, const AttentionPart& part,
                  const AttentionBuffers<Real>& b) {
  const AttentionLayout& l = a.layout;
  const int64_t h = l.width, stride = l.packed_width(), padded = PaddedLength(part.length);
  const int64_t group = l.heads / l.kv_heads;
  const int64_t key_column = (l.heads + part.kv_head) * h,
                value_column = key_column + l.kv_heads * h;
  const Real* item = a.qkv_TE + part.first_token * stride;
  CopyRows(item + key_column, stride, part.length, padded, h, b.keys_KH);
  CopyRows(item + value_column, stride, part.length, padded, h, b.values_KH);
  Transpose(b.keys_KH, h, padded, h, b.keys_HK, padded);
  std::fill_n(b.dkeys_KH, padded * h, 0.0F);
  std::fill_n(b.dvalues_KH, padded * h, 0.0F);
  Real* ditem = a.dqkv_TE + part.first_token * stride;
  for (int64_t head = part.kv_head * group; head < (part.kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < part.length; q += kQueries) {
      const int64_t rows = std::min(kQueries, part.length - q);
      LoadQueries(a, part, head, q, rows, b);
      const int64_t seen = EndKey(l, part.length, q);
      const int64_t first = FirstKey(l, q);
      for (int64_t k = first; k < seen; k += kKeysMax) {
        const int64_t keys = std::min(kKeysMax, seen - k);
        BlockProduct(keys, kQueries, h, b.keys_KH + k * h, h, b.query_HQ, kQueries, false,
                     b.score_KQ, kQueries);
        BlockProduct(keys, kQueries, h, b.values_KH + k * h, h, b.dout_HQ, kQueries, false, b.dp_KQ,
                     kQueries);
        CapScores(l, keys, b.score_KQ);
        HideUnseen(l, part.length, k, keys, q, b.score_KQ);
        GradientBlock(l, b, keys);
        BlockProduct(keys, h, kQueries, b.p_KQ, kQueries, b.dout_QH, h, true, b.dvalues_KH + k * h,
                     h);
        BlockProduct(keys, h, kQueries, b.ds_KQ, kQueries, b.query_QH, h, true, b.dkeys_KH + k * h,
                     h);
        BlockProduct(h, kQueries, keys, b.keys_HK + k, padded, b.ds_pairs_KQ, kQueries, k > first,
                     b.out_HQ, kQueries);
      }
      Transpose(b.out_HQ, kQueries, h, kQueries, b.out_QH, h);
      StoreRows(b.out_QH, rows, h, ditem + q * stride + head * h, stride);
    }
  }
  StoreRows(b.dkeys_KH, part.length, h, ditem + key_column, stride);
  StoreRows(b.dvalues_KH, part.length, h, ditem + value_column, stride);
}

void BackwardPartF32(const AttentionBackwardArgs<float>& a, const AttentionPart& part,
                     const AttentionBuffers<float>& b) {
  BackwardPart(a, part, b);
}
void BackwardPartBf16(const AttentionBackwardArgs<Bfloat16>& a, const AttentionPart& part,
                      const AttentionBuffers<Bfloat16>& b) {
  BackwardPart(a, part, b);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

HWY_EXPORT(BackwardPartF32);
HWY_EXPORT(BackwardPartBf16);

template <class Real, class Work>
void OverParts(const AttentionBackwardArgs<Real>& args, Work work) {
  OverAttentionParts<Real>(args.layout, /*backward=*/true, args.scratch,
                           [&](const AttentionPart& part, const AttentionBuffers<Real>& buffers) {
                             const BlockProducts products(sizeof(Real) == 2);
                             work(args, part, buffers);
                           });
}

}  // namespace

template <class Real>
int64_t AttentionBackwardScratchBytes(const AttentionLayout& layout, int threads) {
  return threads * BytesOfOneThread<Real>(layout, /*backward=*/true);
}
template int64_t AttentionBackwardScratchBytes<float>(const AttentionLayout&, int);
template int64_t AttentionBackwardScratchBytes<Bfloat16>(const AttentionLayout&, int);

template <>
void AttentionBackwardCpu<float>(const AttentionBackwardArgs<float>& args) {
  OverParts(args, HWY_DYNAMIC_DISPATCH(BackwardPartF32));
}
template <>
void AttentionBackwardCpu<Bfloat16>(const AttentionBackwardArgs<Bfloat16>& args) {
  OverParts(args, HWY_DYNAMIC_DISPATCH(BackwardPartBf16));
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

// Attention forward. Everything is held transposed, a query to a lane: scores are [keys, 64
// queries], so the softmax needs no sum across lanes, and probabilities come out as the right-hand
// operand of the next product:  S^T = K Q^T,  P = softmax(S),  O^T = V^T P^T. Items are padded with
// zero keys to a multiple of 64; what a padded query computes is dropped.
#include <ATen/Parallel.h>

#include <cmath>

#include "worker/ops/attention_buffers.h"
#include "worker/ops/attention_cpu.h"
#include "worker/ops/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/attention_forward_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/attention_blocks-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// Turns scores into exp(scale score - max), lane by lane, as an operand; keeps the running maximum
// and sum, and scales what `out_HQ` holds so far to the new maximum.
template <class Real>
void SoftmaxBlock(const AttentionBuffers<Real>& b, int64_t keys, float scale, int64_t width,
                  bool first) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < kQueries; i += lanes) {
    // Not minus infinity: a query may see none of this block.
    auto largest = hn::Set(d, kLeast);
    for (int64_t k = 0; k < keys; ++k) {
      largest = hn::Max(largest, hn::LoadU(d, b.score_KQ + k * kQueries + i));
    }
    largest = hn::Mul(largest, hn::Set(d, scale));
    const auto before = first ? hn::Set(d, kLeast) : hn::LoadU(d, b.max_Q + i);
    largest = hn::Max(largest, before);
    hn::StoreU(largest, d, b.max_Q + i);
    auto sum = hn::Zero(d);
    for (int64_t k = 0; k < keys; k += 2) {
      const auto p = [&](int64_t row) HWY_ATTR {
        const auto score = hn::LoadU(d, b.score_KQ + row * kQueries + i);
        return Exp(d, hn::MulSub(score, hn::Set(d, scale), largest));
      };
      const auto p0 = p(k), p1 = p(k + 1);
      sum = hn::Add(sum, hn::Add(p0, p1));
      StoreOperand(d, p0, p1, k, i, b.p_pairs_KQ);
    }
    if (!first) {
      const auto shrink = Exp(d, hn::Sub(before, largest));
      sum = hn::MulAdd(hn::LoadU(d, b.sum_Q + i), shrink, sum);
      for (int64_t h = 0; h < width; ++h) {
        float* out = b.out_HQ + h * kQueries + i;
        hn::StoreU(hn::Mul(hn::LoadU(d, out), shrink), d, out);
      }
    }
    hn::StoreU(sum, d, b.sum_Q + i);
  }
}

// Fills the item's keys, and its values as [H, K].
template <class Real>
void PackForward(const AttentionForwardArgs<Real>& a, const AttentionPart& part,
                 const AttentionBuffers<Real>& b) {
  const AttentionLayout& l = a.layout;
  const int64_t h = l.width, stride = l.packed_width(), padded = PaddedLength(part.length);
  const Real* keys = a.qkv_TE + part.first_token * stride + (l.heads + part.kv_head) * h;
  CopyRows(keys, stride, part.length, padded, h, b.keys_KH);
  const Real* values = keys + l.kv_heads * h;
  Transpose(values, stride, part.length, h, b.values_HK, padded);
  for (int64_t i = 0; i < h; ++i) {
    std::fill(b.values_HK + i * padded + part.length, b.values_HK + (i + 1) * padded, Real(0.0F));
  }
}

template <class Real>
void ForwardPart(const AttentionForwardArgs<Real>& a, const AttentionPart& part,
                 const AttentionBuffers<Real>& b) {
  const AttentionLayout& l = a.layout;
  const Floats d;
  const int64_t h = l.width, stride = l.packed_width(), padded = PaddedLength(part.length);
  const int64_t group = l.heads / l.kv_heads;
  PackForward(a, part, b);
  for (int64_t head = part.kv_head * group; head < (part.kv_head + 1) * group; ++head) {
    for (int64_t q = 0; q < part.length; q += kQueries) {
      const int64_t rows = std::min(kQueries, part.length - q);
      const Real* query = a.qkv_TE + (part.first_token + q) * stride + head * h;
      CopyRows(query, stride, rows, kQueries, h, b.rows_QH);
      OperandOfTransposed(b.rows_QH, h, b.query_HQ);
      const int64_t seen = EndKey(l, part.length, q);
      const int64_t first = FirstKey(l, q);
      for (int64_t k = first; k < seen; k += kKeysMax) {
        const int64_t keys = std::min(kKeysMax, seen - k);
        BlockProduct(keys, kQueries, h, b.keys_KH + k * h, h, b.query_HQ, kQueries, false,
                     b.score_KQ, kQueries);
        CapScores(l, keys, b.score_KQ);
        HideUnseen(l, part.length, k, keys, q, b.score_KQ);
        SoftmaxBlock(b, keys, ScaleInSoftmax(l), h, k == first);
        BlockProduct(h, kQueries, keys, b.values_HK + k, padded, b.p_pairs_KQ, kQueries, k > first,
                     b.out_HQ, kQueries);
      }
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      for (int64_t i = 0; i < kQueries; i += lanes) {
        const auto inverse = hn::Div(hn::Set(d, 1.0F), hn::LoadU(d, b.sum_Q + i));
        for (int64_t j = 0; j < h; ++j) {
          float* out = b.out_HQ + j * kQueries + i;
          hn::StoreU(hn::Mul(hn::LoadU(d, out), inverse), d, out);
        }
      }
      Transpose(b.out_HQ, kQueries, h, kQueries, b.out_QH, h);
      const int64_t token = part.first_token + q;
      StoreRows(b.out_QH, rows, h, a.out_TO + (token * l.heads + head) * h, l.heads * h);
      for (int64_t r = 0; r < rows; ++r) {
        a.logsumexp_QT[head * l.tokens() + token + r] = b.max_Q[r] + std::log(b.sum_Q[r]);
      }
    }
  }
}

void ForwardPartF32(const AttentionForwardArgs<float>& a, const AttentionPart& part,
                    const AttentionBuffers<float>& b) {
  ForwardPart(a, part, b);
}
void ForwardPartBf16(const AttentionForwardArgs<Bfloat16>& a, const AttentionPart& part,
                     const AttentionBuffers<Bfloat16>& b) {
  ForwardPart(a, part, b);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

HWY_EXPORT(ForwardPartF32);
HWY_EXPORT(ForwardPartBf16);

template <class Real, class Work>
void OverParts(const AttentionForwardArgs<Real>& args, Work work) {
  OverAttentionParts<Real>(args.layout, /*backward=*/false, args.scratch,
                           [&](const AttentionPart& part, const AttentionBuffers<Real>& buffers) {
                             const BlockProducts products(sizeof(Real) == 2);
                             work(args, part, buffers);
                           });
}

}  // namespace

template <class Real>
int64_t AttentionForwardScratchBytes(const AttentionLayout& layout, int threads) {
  return threads * BytesOfOneThread<Real>(layout, /*backward=*/false);
}
template int64_t AttentionForwardScratchBytes<float>(const AttentionLayout&, int);
template int64_t AttentionForwardScratchBytes<Bfloat16>(const AttentionLayout&, int);

template <>
void AttentionForwardCpu<float>(const AttentionForwardArgs<float>& args) {
  OverParts(args, HWY_DYNAMIC_DISPATCH(ForwardPartF32));
}
template <>
void AttentionForwardCpu<Bfloat16>(const AttentionForwardArgs<Bfloat16>& args) {
  OverParts(args, HWY_DYNAMIC_DISPATCH(ForwardPartBf16));
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

// Attention of single tokens over cached keys and values: bound by reading the cache, so the query
// heads of a key head go over each key together.
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "worker/ops/attention_cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/attention_decode_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

template <class Real>
HWY_INLINE float Dot(const Real* a, const Real* b, int64_t width) {
  LaneSum sum;
  ForLanes(width, [&](auto d, int64_t i)
                      HWY_ATTR { sum.MulAdd(d, LoadFloats(d, a + i), LoadFloats(d, b + i)); });
  return sum.Total();
}

// `p_P` becomes exp(p - max) / sum.
HWY_INLINE void Softmax(float* p_P, int64_t count) {
  float largest = -1e30F;
  for (int64_t i = 0; i < count; ++i) largest = p_P[i] > largest ? p_P[i] : largest;
  LaneSum sum;
  ForLanes(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto e = Exp(d, hn::Sub(hn::LoadU(d, p_P + i), hn::Set(d, largest)));
    hn::StoreU(e, d, p_P + i);
    sum.Add(d, e);
  });
  const float scale = 1.0F / sum.Total();
  ForLanes(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, p_P + i), hn::Set(d, scale)), d, p_P + i);
  });
}

// One key head of one token. `scratch`: group x keys scores, then group x width sums.
template <class Real>
void DecodeHead(const AttentionDecodeArgs<Real>& a, int64_t kv_head, float* scratch) {
  const int64_t h = a.width, group = a.heads / a.kv_heads, stride = a.kv_heads * h;
  const int64_t keys = a.seen - a.first;
  float* p_GP = scratch;
  float* out_GH = scratch + group * keys;
  const Real* query_GH = a.query + kv_head * group * h;
  const Real* key = a.keys_PKH + a.first * stride + kv_head * h;
  const Real* value = a.values_PKH + a.first * stride + kv_head * h;
  for (int64_t p = 0; p < keys; ++p) {
    for (int64_t g = 0; g < group; ++g) {
      p_GP[g * keys + p] = Dot(query_GH + g * h, key + p * stride, h) * a.scale;
    }
  }
  for (int64_t g = 0; g < group; ++g) {
    float* p_P = p_GP + g * keys;
    if (a.softcap != 0) {
      ForLanes(keys, [&](auto d, int64_t i) HWY_ATTR {
        const auto ratio = hn::Div(hn::LoadU(d, p_P + i), hn::Set(d, a.softcap));
        hn::StoreU(hn::Mul(Tanh(d, ratio), hn::Set(d, a.softcap)), d, p_P + i);
      });
    }
    Softmax(p_P, keys);
  }
  std::fill_n(out_GH, group * h, 0.0F);
  for (int64_t p = 0; p < keys; ++p) {
    for (int64_t g = 0; g < group; ++g) {
      const float weight = p_GP[g * keys + p];
      float* out_H = out_GH + g * h;
      ForLanes(h, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(hn::MulAdd(LoadFloats(d, value + p * stride + i), hn::Set(d, weight),
                              hn::LoadU(d, out_H + i)),
                   d, out_H + i);
      });
    }
  }
  Real* out = a.out + kv_head * group * h;
  ForLanes(group * h,
           [&](auto d, int64_t i) HWY_ATTR { StoreFloats(hn::LoadU(d, out_GH + i), d, out + i); });
}

void DecodeHeadF32(const AttentionDecodeArgs<float>& a, int64_t kv_head, float* scratch) {
  DecodeHead(a, kv_head, scratch);
}
void DecodeHeadBf16(const AttentionDecodeArgs<Bfloat16>& a, int64_t kv_head, float* scratch) {
  DecodeHead(a, kv_head, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

HWY_EXPORT(DecodeHeadF32);
HWY_EXPORT(DecodeHeadBf16);

// A part: one key head of one token.
template <class Real, class Head>
void OverHeads(std::span<const AttentionDecodeArgs<Real>> tokens, Head head) {
  if (tokens.empty()) return;
  const int64_t kv_heads = tokens[0].kv_heads, parts = std::ssize(tokens) * kv_heads;
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t part = begin; part < end; ++part) {
      const AttentionDecodeArgs<Real>& args = tokens[static_cast<size_t>(part / kv_heads)];
      const int64_t group = args.heads / args.kv_heads;
      const auto needed = static_cast<size_t>(group * (args.seen - args.first + args.width));
      if (scratch.size() < needed) scratch.resize(needed);
      head(args, part % kv_heads, scratch.data());
    }
  });
}

}  // namespace

template <>
void AttentionDecodeCpu<float>(std::span<const AttentionDecodeArgs<float>> tokens) {
  OverHeads(tokens, HWY_DYNAMIC_DISPATCH(DecodeHeadF32));
}
template <>
void AttentionDecodeCpu<Bfloat16>(std::span<const AttentionDecodeArgs<Bfloat16>> tokens) {
  OverHeads(tokens, HWY_DYNAMIC_DISPATCH(DecodeHeadBf16));
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

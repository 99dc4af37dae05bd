#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "worker/ops/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/head_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// The largest of `count` floats; NaN if one is.
float Largest(const float* values, int64_t count) {
  const Floats d;
  auto lanes = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto nan = hn::Zero(d);  // becomes NaN once a value is
  float rest = -std::numeric_limits<float>::infinity(), rest_nan = 0;
  ForLanes(count, [&](auto tag, int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(tag, values + i);
    if constexpr (std::is_same_v<decltype(tag), Floats>) {
      lanes = hn::Max(lanes, v);
      nan = hn::Add(nan, hn::IfThenElseZero(hn::IsNaN(v), v));
    } else {
      const float x = hn::GetLane(hn::MaxOfLanes(tag, v));
      rest = x > rest ? x : rest;
      rest_nan += hn::GetLane(hn::SumOfLanes(tag, hn::IfThenElseZero(hn::IsNaN(v), v)));
    }
  });
  const float all_nan = hn::GetLane(hn::SumOfLanes(d, nan)) + rest_nan;
  if (all_nan != all_nan) return all_nan;
  const float largest = hn::GetLane(hn::MaxOfLanes(d, lanes));
  return largest > rest ? largest : rest;
}

// Rows begin .. end - 1 of the chunk. With z' = z - max z and e = exp z':
//   logsumexp = max z + log sum e;  entropy = log sum e - (sum e z') / sum e.
template <class Real>
void HeadChunk(const HeadChunkArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    float* z = a.logit_CV + t * a.vocab;
    const int64_t target = a.target_C[t];
    const float largest = Largest(z, a.vocab);
    const float target_logit = z[target];
    LaneSum sum, weighted;
    const bool wants_entropy = a.entropy_C != nullptr;
    ForLanes(a.vocab, [&](auto d, int64_t i) HWY_ATTR {
      const auto centred = hn::Sub(hn::LoadU(d, z + i), hn::Set(d, largest));
      const auto e = Exp(d, centred);
      hn::StoreU(e, d, z + i);
      sum.Add(d, e);
      if (wants_entropy) {
        // exp(-inf) (-inf) counts as 0.
        const auto none = hn::Eq(e, hn::Zero(d));
        weighted.MulAdd(d, e, hn::IfThenZeroElse(none, centred));
      }
    });
    const float total = sum.Total();
    const float log_total = std::log(total);
    a.logsumexp_C[t] = largest + log_total;
    a.logprob_C[t] = target_logit - largest - log_total;
    a.argmax_match_C[t] = target_logit >= largest;
    if (wants_entropy) a.entropy_C[t] = log_total - weighted.Total() / total;
    if (a.dlogit_CV == nullptr) continue;
    Real* dz = a.dlogit_CV + t * a.dlogit_stride;
    const float dlogprob = a.dlogprob_C[t];
    const float scale = -dlogprob / total;
    const float at_target = z[target] * scale + dlogprob;
    ForLanes(a.vocab, [&](auto d, int64_t i) HWY_ATTR {
      StoreFloats(hn::Mul(hn::LoadU(d, z + i), hn::Set(d, scale)), d, dz + i);
    });
    dz[target] = static_cast<Real>(at_target);
    for (int64_t i = a.vocab; i < a.dlogit_columns; ++i) dz[i] = Real(0.0F);
  }
}

void HeadChunkF32(const HeadChunkArgs<float>& a, int64_t begin, int64_t end) {
  HeadChunk(a, begin, end);
}
void HeadChunkBf16(const HeadChunkArgs<Bfloat16>& a, int64_t begin, int64_t end) {
  HeadChunk(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {

HWY_EXPORT(HeadChunkF32);
HWY_EXPORT(HeadChunkBf16);

template <>
void HeadChunkCpu<float>(const HeadChunkArgs<float>& args) {
  at::parallel_for(0, args.tokens, 1, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(HeadChunkF32)(args, begin, end);
  });
}
template <>
void HeadChunkCpu<Bfloat16>(const HeadChunkArgs<Bfloat16>& args) {
  at::parallel_for(0, args.tokens, 1, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(HeadChunkBf16)(args, begin, end);
  });
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

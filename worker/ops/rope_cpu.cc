#include <ATen/Parallel.h>

#include "worker/ops/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/rope_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// (a, b) -> (a cos - b sin, b cos + a sin), for the halves of every head.
template <class Real>
void Rope(const RopeArgs<Real>& args, int64_t begin, int64_t end) {
  const int64_t half = args.width / 2;
  for (int64_t t = begin; t < end; ++t) {
    const float* cosine = args.cos_TH + t * half;
    const float* sine = args.sin_TH + t * half;
    for (int64_t head = 0; head < args.heads; ++head) {
      Real* first = args.x_TNH + t * args.stride + head * args.width;
      Real* second = first + half;
      ForLanes(half, [&](auto d, int64_t i) HWY_ATTR {
        const auto a = LoadFloats(d, first + i), b = LoadFloats(d, second + i);
        const auto c = LoadFloats(d, cosine + i);
        const auto s = hn::Mul(LoadFloats(d, sine + i), hn::Set(d, args.direction));
        StoreFloats(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, first + i);
        StoreFloats(hn::MulAdd(a, s, hn::Mul(b, c)), d, second + i);
      });
    }
  }
}

void RopeF32(const RopeArgs<float>& a, int64_t begin, int64_t end) { Rope(a, begin, end); }
void RopeBf16(const RopeArgs<Bfloat16>& a, int64_t begin, int64_t end) { Rope(a, begin, end); }

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {

HWY_EXPORT(RopeF32);
HWY_EXPORT(RopeBf16);

constexpr int64_t kTokensGrain = 16;

template <>
void RopeCpu<float>(const RopeArgs<float>& args) {
  at::parallel_for(0, args.tokens, kTokensGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RopeF32)(args, begin, end);
  });
}
template <>
void RopeCpu<Bfloat16>(const RopeArgs<Bfloat16>& args) {
  at::parallel_for(0, args.tokens, kTokensGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RopeBf16)(args, begin, end);
  });
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

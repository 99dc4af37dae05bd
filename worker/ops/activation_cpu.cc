#include <ATen/Parallel.h>

#include "worker/ops/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/activation_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// GELU's tanh form is x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr float kTwoRootTwoOverPi = 1.59576912160573F;
constexpr float kCubic = 0.044715F;

template <class D>
HWY_INLINE hn::Vec<D> Gelu(D d, hn::Vec<D> x) {
  const auto inner = hn::MulAdd(hn::Mul(x, x), hn::Set(d, kCubic), hn::Set(d, 1.0F));
  const auto two_u = hn::Mul(hn::Mul(x, inner), hn::Set(d, kTwoRootTwoOverPi));
  return hn::Mul(x, Sigmoid(d, two_u));
}

// With s = sigmoid(2 u):  d/dx = s + x s (1 - s) 2 u',  2 u' = 2 sqrt(2 / pi) (1 + 3 0.044715 x^2).
// The value is x s.
template <class D>
HWY_INLINE void GeluSlope(D d, hn::Vec<D> x, hn::Vec<D>& s, hn::Vec<D>& slope) {
  const auto one = hn::Set(d, 1.0F);
  const auto cubic = hn::Mul(hn::Mul(x, x), hn::Set(d, kCubic));
  const auto scale = hn::Set(d, kTwoRootTwoOverPi);
  hn::Vec<D> not_s;
  Sigmoid(d, hn::Mul(hn::Mul(x, hn::Add(cubic, one)), scale), s, not_s);
  const auto steepness = hn::Mul(hn::MulAdd(cubic, hn::Set(d, 3.0F), one), scale);
  // s (1 - s) first: where it is 0, x times the steepness may be infinite.
  slope = hn::Add(s, hn::Mul(hn::Mul(hn::Mul(s, not_s), x), steepness));
}

// begin, end: elements.
template <class Real>
void GeluForward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  const Real* in = a.x + begin;
  Real* out = a.out + begin;
  ForLanes(end - begin, [&](auto d, int64_t i)
                            HWY_ATTR { StoreFloats(Gelu(d, LoadFloats(d, in + i)), d, out + i); });
}

template <class Real>
void GeluBackward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  const Real* in = a.x + begin;
  const Real* dy = a.dy + begin;
  Real* out = a.out + begin;
  ForLanes(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    hn::Vec<decltype(d)> s, slope;
    GeluSlope(d, LoadFloats(d, in + i), s, slope);
    StoreFloats(hn::Mul(LoadFloats(d, dy + i), slope), d, out + i);
  });
}

// begin, end: rows.
template <class Real>
void SwiGluForward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const Real* gate = a.x + 2 * t * a.width;
    const Real* up = gate + a.width;
    Real* y = a.out + t * a.width;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto g = LoadFloats(d, gate + i);
      StoreFloats(hn::Mul(hn::Mul(g, Sigmoid(d, g)), LoadFloats(d, up + i)), d, y + i);
    });
  }
}

// dgate = dy up s (1 + g (1 - s)) and dup = dy g s, with s = sigmoid(g).
template <class Real>
void SwiGluBackward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const Real* gate = a.x + 2 * t * a.width;
    const Real* up = gate + a.width;
    const Real* dy = a.dy + t * a.width;
    Real* dgate = a.out + 2 * t * a.width;
    Real* dup = dgate + a.width;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto one = hn::Set(d, 1.0F);
      const auto g = LoadFloats(d, gate + i), dy_i = LoadFloats(d, dy + i);
      hn::Vec<decltype(d)> s, not_s;
      Sigmoid(d, g, s, not_s);
      const auto slope = hn::Mul(s, hn::MulAdd(g, not_s, one));
      StoreFloats(hn::Mul(hn::Mul(dy_i, LoadFloats(d, up + i)), slope), d, dgate + i);
      StoreFloats(hn::Mul(dy_i, hn::Mul(g, s)), d, dup + i);
    });
  }
}

template <class Real>
void GeGluForward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const Real* gate = a.x + 2 * t * a.width;
    const Real* up = gate + a.width;
    Real* y = a.out + t * a.width;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      StoreFloats(hn::Mul(Gelu(d, LoadFloats(d, gate + i)), LoadFloats(d, up + i)), d, y + i);
    });
  }
}

// dgate = dy up gelu'(g) and dup = dy gelu(g).
template <class Real>
void GeGluBackward(const ActivationArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const Real* gate = a.x + 2 * t * a.width;
    const Real* up = gate + a.width;
    const Real* dy = a.dy + t * a.width;
    Real* dgate = a.out + 2 * t * a.width;
    Real* dup = dgate + a.width;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto g = LoadFloats(d, gate + i), dy_i = LoadFloats(d, dy + i);
      hn::Vec<decltype(d)> s, slope;
      GeluSlope(d, g, s, slope);
      StoreFloats(hn::Mul(hn::Mul(dy_i, LoadFloats(d, up + i)), slope), d, dgate + i);
      StoreFloats(hn::Mul(dy_i, hn::Mul(g, s)), d, dup + i);
    });
  }
}

#define TRAINYARD_ACTIVATION(Name, Suffix, Real)                                 \
  void Name##Suffix(const ActivationArgs<Real>& a, int64_t begin, int64_t end) { \
    Name(a, begin, end);                                                         \
  }
#define TRAINYARD_ACTIVATIONS(Suffix, Real)          \
  TRAINYARD_ACTIVATION(GeluForward, Suffix, Real)    \
  TRAINYARD_ACTIVATION(GeluBackward, Suffix, Real)   \
  TRAINYARD_ACTIVATION(SwiGluForward, Suffix, Real)  \
  TRAINYARD_ACTIVATION(SwiGluBackward, Suffix, Real) \
  TRAINYARD_ACTIVATION(GeGluForward, Suffix, Real)   \
  TRAINYARD_ACTIVATION(GeGluBackward, Suffix, Real)
TRAINYARD_ACTIVATIONS(F32, float)
TRAINYARD_ACTIVATIONS(Bf16, Bfloat16)
#undef TRAINYARD_ACTIVATIONS
#undef TRAINYARD_ACTIVATION

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

constexpr int64_t kElementsGrain = 16384;

}  // namespace

// Chunks of elements begin at multiples of the grain, whatever the number of threads: each element
// is computed by the same code in every run.
#define TRAINYARD_ELEMENTS(Public, Name, Suffix, Real)                                             \
  HWY_EXPORT(Name##Suffix);                                                                        \
  template <>                                                                                      \
  void Public<Real>(const ActivationArgs<Real>& args) {                                            \
    at::parallel_for(0, args.tokens* args.width, kElementsGrain, [&](int64_t begin, int64_t end) { \
      HWY_DYNAMIC_DISPATCH(Name##Suffix)(args, begin, end);                                        \
    });                                                                                            \
  }
#define TRAINYARD_ROWS(Public, Name, Suffix, Real)                           \
  HWY_EXPORT(Name##Suffix);                                                  \
  template <>                                                                \
  void Public<Real>(const ActivationArgs<Real>& args) {                      \
    at::parallel_for(0, args.tokens, 1 + kElementsGrain / (1 + args.width),  \
                     [&](int64_t begin, int64_t end) {                       \
                       HWY_DYNAMIC_DISPATCH(Name##Suffix)(args, begin, end); \
                     });                                                     \
  }
#define TRAINYARD_ACTIVATIONS(Suffix, Real)                           \
  TRAINYARD_ELEMENTS(GeluTanhForwardCpu, GeluForward, Suffix, Real)   \
  TRAINYARD_ELEMENTS(GeluTanhBackwardCpu, GeluBackward, Suffix, Real) \
  TRAINYARD_ROWS(SwiGluForwardCpu, SwiGluForward, Suffix, Real)       \
  TRAINYARD_ROWS(SwiGluBackwardCpu, SwiGluBackward, Suffix, Real)     \
  TRAINYARD_ROWS(GeGluTanhForwardCpu, GeGluForward, Suffix, Real)     \
  TRAINYARD_ROWS(GeGluTanhBackwardCpu, GeGluBackward, Suffix, Real)
TRAINYARD_ACTIVATIONS(F32, float)
TRAINYARD_ACTIVATIONS(Bf16, Bfloat16)
#undef TRAINYARD_ACTIVATIONS
#undef TRAINYARD_ROWS
#undef TRAINYARD_ELEMENTS

}  // namespace trainyard::worker
#endif  // HWY_ONCE

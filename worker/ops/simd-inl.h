// Float lanes over float or bfloat16 memory, for the *_cpu.cc files: Highway compiles each of them
// once per instruction set and the best one is chosen when the program runs.
// No include guard of the usual kind: foreach_target.h includes this once per target.
#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "worker/ops/cpu_kernels.h"

#if defined(TRAINYARD_WORKER_OPS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRAINYARD_WORKER_OPS_SIMD_INL_H_
#undef TRAINYARD_WORKER_OPS_SIMD_INL_H_
#else
#define TRAINYARD_WORKER_OPS_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using FourFloats = hn::CappedTag<float, 4>;
using OneFloat = hn::CappedTag<float, 1>;

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const Bfloat16* p) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::Rebind<uint32_t, D> d32;
  const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

template <class D>
HWY_INLINE void StoreFloats(hn::Vec<D> v, D d, float* p) {
  hn::StoreU(v, d, p);
}
// The upper halves of `v` rounded to nearest, ties to even, in the low 16 bits of each lane. A NaN
// stays one unless the low half of its payload is all ones, which none is that comes from
// arithmetic on bfloat16 numbers or from an invalid operation.
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<uint32_t, D>> RoundedUpperHalf(D /*d*/, hn::Vec<D> v) {
  const hn::Rebind<uint32_t, D> d32;
  const auto bits = hn::BitCast(d32, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1));
  return hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFF))));
}
template <class D>
HWY_INLINE void StoreFloats(hn::Vec<D> v, D d, Bfloat16* p) {
  const hn::Rebind<uint16_t, D> d16;
  hn::StoreU(hn::TruncateTo(d16, RoundedUpperHalf(d, v)), d16, reinterpret_cast<uint16_t*>(p));
}

// Calls body(d, i) for i = 0, lanes, 2 lanes, ... and then by fours and ones for what is left of
// `count`.
template <class Body>
HWY_INLINE void ForLanes(int64_t count, const Body& body) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  for (; i + 4 <= count; i += 4) body(FourFloats(), i);
  for (; i < count; ++i) body(OneFloat(), i);
}

// A sum over lanes that ForLanes feeds: full vectors and what is left are kept apart.
class LaneSum {
 public:
  HWY_INLINE HWY_ATTR LaneSum() : lanes_(hn::Zero(Floats())) {}
  HWY_INLINE void Add(Floats /*d*/, hn::Vec<Floats> v) { lanes_ = hn::Add(lanes_, v); }
  HWY_INLINE void MulAdd(Floats /*d*/, hn::Vec<Floats> a, hn::Vec<Floats> b) {
    lanes_ = hn::MulAdd(a, b, lanes_);
  }
  template <class D, std::enable_if_t<!std::is_same_v<D, Floats>>* = nullptr>
  HWY_INLINE void Add(D d, hn::Vec<D> v) {
    rest_ += hn::GetLane(hn::SumOfLanes(d, v));
  }
  template <class D, std::enable_if_t<!std::is_same_v<D, Floats>>* = nullptr>
  HWY_INLINE void MulAdd(D d, hn::Vec<D> a, hn::Vec<D> b) {
    Add(d, hn::Mul(a, b));
  }
  HWY_INLINE float Total() const { return hn::GetLane(hn::SumOfLanes(Floats(), lanes_)) + rest_; }

 private:
  hn::Vec<Floats> lanes_;
  float rest_ = 0;
};

// exp(x) within 2 units in the last place up to x = 88, which larger ones count as; 0 from about
// -88 down. NaN stays NaN. Cody and Waite's reduction by ln 2, then the Taylor polynomial of degree
// 7 on |r| <= ln(2)/2.
template <class D>
HWY_INLINE hn::Vec<D> Exp(D d, hn::Vec<D> x) {
  const hn::Rebind<int32_t, D> d32;
  const auto log2e = hn::Set(d, 1.44269504088896341F);
  const auto ln2_high = hn::Set(d, 0.693359375F);
  const auto ln2_low = hn::Set(d, -2.12194440e-4F);
  // x comes second: that is what x86 returns when it is NaN. At the lower bound n is -127, and so
  // the power of two 0.
  const auto bounded = hn::Min(hn::Set(d, 88.0F), hn::Max(hn::Set(d, -88.1F), x));
  const auto n = hn::Round(hn::Mul(bounded, log2e));
  auto r = hn::NegMulAdd(n, ln2_high, bounded);
  r = hn::NegMulAdd(n, ln2_low, r);
  auto p = hn::Set(d, 1.0F / 5040);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 720));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0F));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(d32, n), hn::Set(d32, 127)));
  return hn::Mul(p, hn::BitCast(d, power));
}

// value = 1 / (1 + exp(-x)), 0 from -88 down; complement = 1 - value, without cancellation.
// A reciprocal good to 12 bits at least and Newton's step to 24: a division would take as long as
// the exponential.
template <class D>
HWY_INLINE void Sigmoid(D d, hn::Vec<D> x, hn::Vec<D>& value, hn::Vec<D>& complement) {
  const auto two = hn::Set(d, 2.0F);
  const auto e = Exp(d, hn::Neg(x));
  const auto denominator = hn::Add(hn::Set(d, 1.0F), e);
  auto inverse = hn::ApproximateReciprocal(denominator);
  inverse = hn::Mul(inverse, hn::NegMulAdd(denominator, inverse, two));
  value = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -88.0F)), inverse);
  complement = hn::Mul(e, inverse);
}
template <class D>
HWY_INLINE hn::Vec<D> Sigmoid(D d, hn::Vec<D> x) {
  hn::Vec<D> value, complement;
  Sigmoid(d, x, value, complement);
  return value;
}

// tanh(x) within 3 units in the last place; NaN stays NaN. By an odd polynomial near 0, where
// 1 - 2 / (exp(2 |x|) + 1) would cancel (Cephes, tanhf).
template <class D>
HWY_INLINE hn::Vec<D> Tanh(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0F), two = hn::Set(d, 2.0F);
  const auto z = hn::Mul(x, x);
  auto p = hn::Set(d, -5.70498872745e-3F);
  p = hn::MulAdd(p, z, hn::Set(d, 2.06390887954e-2F));
  p = hn::MulAdd(p, z, hn::Set(d, -5.37397155531e-2F));
  p = hn::MulAdd(p, z, hn::Set(d, 1.33314422036e-1F));
  p = hn::MulAdd(p, z, hn::Set(d, -3.33332819422e-1F));
  const auto small = hn::MulAdd(hn::Mul(p, z), x, x);
  const auto size = hn::Abs(x);
  const auto e = Exp(d, hn::Mul(size, two));
  const auto large = hn::CopySign(hn::Sub(one, hn::Div(two, hn::Add(e, one))), x);
  return hn::IfThenElse(hn::Gt(size, hn::Set(d, 0.625F)), large, small);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#endif  // once per target

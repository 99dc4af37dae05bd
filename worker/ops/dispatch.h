// From tensors to the CPU kernels.
#pragma once

#include "worker/ops/cpu_kernels.h"
#include "worker/ops/tensor.h"

namespace trainyard::worker {

// Whether the kernels take numbers of this kind; the compositions take everything.
inline bool KernelsTake(const Tensor& x) {
  return (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.is_cpu() &&
         KernelsOn();
}
inline bool OnKernels(const Tensor& x) { return x.is_contiguous() && KernelsTake(x); }

template <class Real>
struct RealTag {
  using Type = Real;
};
// Calls f(RealTag<float>) or f(RealTag<Bfloat16>).
template <class F>
auto WithReal(const Tensor& x, F f) {
  if (x.scalar_type() == at::kFloat) return f(RealTag<float>());
  return f(RealTag<Bfloat16>());
}

// The tensor's memory; null for an undefined one.
template <class Real>
const Real* In(const Tensor& x) {
  return x.defined() ? x.const_data_ptr<Real>() : nullptr;
}
template <class Real>
Real* Out(const Tensor& x) {
  return x.defined() ? x.mutable_data_ptr<Real>() : nullptr;
}

}  // namespace trainyard::worker

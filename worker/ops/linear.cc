#include "worker/ops/linear.h"

namespace trainyard::worker {
namespace {

bool HasBfloat16Arithmetic() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512bf16") != 0;
  return has;
#else
  return true;
#endif
}

bool MultiplyInFloat32(const Tensor& a) {
  return a.scalar_type() == at::kBFloat16 && a.is_cpu() && !HasBfloat16Arithmetic();
}

}  // namespace

Tensor Product(const Tensor& a_MK, const Tensor& b_KN) {
  if (MultiplyInFloat32(a_MK)) return at::mm(Widen(a_MK), Widen(b_KN)).to(at::kBFloat16);
  return at::mm(a_MK, b_KN);
}

void AddProduct(const Tensor& sum_MN, const Tensor& a_MK, const Tensor& b_KN) {
  Tensor sum = sum_MN;
  if (a_MK.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a_MK, b_KN);
  } else if (MultiplyInFloat32(a_MK)) {
    sum.addmm_(Widen(a_MK), Widen(b_KN));
  } else {
    sum.add_(at::mm(a_MK, b_KN));
  }
}

Tensor LinearForward(const Tensor& x_TI, const Tensor& weight_OI, const Tensor& bias_O) {
  const Tensor weight_IO = weight_OI.t();
  if (!bias_O.defined()) return Product(x_TI, weight_IO);
  if (MultiplyInFloat32(x_TI)) {
    return at::addmm(Widen(bias_O), Widen(x_TI), Widen(weight_IO)).to(at::kBFloat16);
  }
  return at::addmm(bias_O, x_TI, weight_IO);
}

Tensor LinearBackward(const Tensor& dy_TO, const Tensor& x_TI, const Tensor& weight_OI,
                      const Tensor& dweight_OI, const Tensor& dbias_O) {
  AddProduct(dweight_OI, dy_TO.t(), x_TI);
  if (dbias_O.defined()) Tensor(dbias_O).add_(Widen(dy_TO).sum(0));
  return Product(dy_TO, weight_OI);
}

}  // namespace trainyard::worker

#include "worker/ops/linear.h"

#include <ATen/Parallel.h>

#include <type_traits>

#include "worker/ops/dispatch.h"
#include "worker/ops/few_rows_cpu.h"
#include "worker/ops/product_cpu.h"
#include "worker/ops/products.h"

namespace trainyard::worker {
namespace {

bool MultiplyInFloat32(const Tensor& a) {
  return a.scalar_type() == at::kBFloat16 && a.is_cpu() && !HasBfloat16Products();
}

// Whether ATen gives the sums of bfloat16 products as they are, unrounded: it does on a GPU.
bool SumsWide(const Tensor& a) { return a.scalar_type() == at::kBFloat16 && a.is_cuda(); }

// Fewer rows than this are left to ATen: packing would cost more than it saves.
constexpr int64_t kKernelRowsMin = 32;
// So are products with a single column: oneDNN 3.10 sums them wrongly when it adds to what is
// there.
constexpr int64_t kKernelColumnsMin = 2;

bool Contiguous(const Tensor& x) { return x.stride(1) == 1 && x.stride(0) >= x.size(1); }
bool TransposedContiguous(const Tensor& x) { return Contiguous(x.t()); }

// Whether ProductCpu takes a b, with `k` numbers to a sum.
bool ByKernel(const Tensor& a_MK, const Tensor& b_KN) {
  if (a_MK.scalar_type() != at::kBFloat16 || !KernelsTake(a_MK) || !HasBfloat16Products()) {
    return false;
  }
  const bool plain = Contiguous(b_KN);
  return a_MK.size(0) >= kKernelRowsMin && a_MK.size(1) % 2 == 0 && Contiguous(a_MK) &&
         (plain || (TransposedContiguous(b_KN) && b_KN.stride(1) % 2 == 0));
}

std::span<std::byte> BytesOf(const Tensor& scratch) {
  return {static_cast<std::byte*>(scratch.mutable_data_ptr()),
          static_cast<size_t>(scratch.numel())};
}

// Fills `out_MN`: Bfloat16, or float.
void MultiplyByKernel(const Tensor& a_MK, const Tensor& b_KN, const Tensor& bias_N,
                      const Tensor& residual_MN, const Tensor& out_MN) {
  const bool plain = Contiguous(b_KN), wide = out_MN.scalar_type() == at::kFloat;
  const int64_t m = a_MK.size(0), n = b_KN.size(1), k = a_MK.size(1);
  const Tensor scratch =
      at::empty({ProductScratchBytes(m, n, k, at::get_num_threads())}, at::kByte);
  ProductCpu({.m = m,
              .n = n,
              .k = k,
              .a_MK = In<Bfloat16>(a_MK),
              .a_stride = a_MK.stride(0),
              .b = In<Bfloat16>(b_KN),
              .b_stride = plain ? b_KN.stride(0) : b_KN.stride(1),
              .b_k = b_KN.size(0),
              .b_transposed = !plain,
              .bias_N = In<Bfloat16>(bias_N),
              .residual_MN = In<Bfloat16>(residual_MN),
              .out_MN = wide ? nullptr : Out<Bfloat16>(out_MN),
              .wide_out_MN = wide ? Out<float>(out_MN) : nullptr,
              .out_stride = n,
              .scratch = BytesOf(scratch)});
}

Tensor EmptyProduct(const Tensor& a_MK, const Tensor& b_KN, at::ScalarType type) {
  return at::empty({a_MK.size(0), b_KN.size(1)}, a_MK.options().dtype(type));
}

// From about 5 bfloat16 rows on oneDNN's products are faster, where the machine has them: with AMX,
// 48 tokens for 4 prompts by SmolLM2-135M take 1.13 s against 1.22, for 8 prompts 1.58
// against 1.45.
int64_t FewRowsMax(const Tensor& x_TI) {
  return x_TI.scalar_type() == at::kBFloat16 && HasBfloat16Products() ? 4 : kFewRowsMax;
}

// Whether FewRowsCpu takes x times the transposed rows of a weight.
bool AreFewRows(const Tensor& x_TI, const Tensor& weight_IO) {
  return x_TI.size(0) <= FewRowsMax(x_TI) && x_TI.size(0) > 0 && KernelsTake(x_TI) &&
         x_TI.size(1) == weight_IO.size(0) && x_TI.scalar_type() == weight_IO.scalar_type() &&
         Contiguous(x_TI) && TransposedContiguous(weight_IO);
}

Tensor FewRows(const Tensor& x_TI, const Tensor& weight_IO, const Tensor& bias_O,
               const Tensor& residual_TO, at::ScalarType type) {
  Tensor out_TO = EmptyProduct(x_TI, weight_IO, type);
  WithReal(x_TI, [&]<class Real>(RealTag<Real>) {
    const bool wide = type == at::kFloat && !std::is_same_v<Real, float>;
    FewRowsArgs<Real> args{.rows = x_TI.size(0),
                           .inputs = x_TI.size(1),
                           .outputs = weight_IO.size(1),
                           .x_TI = In<Real>(x_TI),
                           .x_stride = x_TI.stride(0),
                           .weight_OI = In<Real>(weight_IO),
                           .weight_stride = weight_IO.stride(1),
                           .bias_O = In<Real>(bias_O),
                           .residual_TO = In<Real>(residual_TO)};
    if (wide) {
      args.wide_out_TO = Out<float>(out_TO);
    } else {
      args.out_TO = Out<Real>(out_TO);
    }
    FewRowsCpu(args);
  });
  return out_TO;
}

void AddGradientByKernel(const Tensor& sum_MN, const Tensor& a_KM, const Tensor& b_KN) {
  const int64_t m = a_KM.size(1), n = b_KN.size(1), k = a_KM.size(0);
  const Tensor scratch =
      at::empty({GradientProductScratchBytes(m, n, k, at::get_num_threads())}, at::kByte);
  GradientProductCpu({.m = m,
                      .n = n,
                      .k = k,
                      .a_KM = In<Bfloat16>(a_KM),
                      .a_stride = a_KM.stride(0),
                      .b_KN = In<Bfloat16>(b_KN),
                      .b_stride = b_KN.stride(0),
                      .sum_MN = Out<float>(sum_MN),
                      .sum_stride = sum_MN.stride(0),
                      .scratch = BytesOf(scratch)});
}

}  // namespace

Tensor Product(const Tensor& a_MK, const Tensor& b_KN) {
  if (AreFewRows(a_MK, b_KN)) return FewRows(a_MK, b_KN, {}, {}, a_MK.scalar_type());
  if (ByKernel(a_MK, b_KN)) {
    Tensor out_MN = EmptyProduct(a_MK, b_KN, at::kBFloat16);
    MultiplyByKernel(a_MK, b_KN, {}, {}, out_MN);
    return out_MN;
  }
  const Tensor present_MK = a_MK.narrow(1, 0, b_KN.size(0));
  if (MultiplyInFloat32(a_MK)) return at::mm(Widen(present_MK), Widen(b_KN)).to(at::kBFloat16);
  return at::mm(present_MK, b_KN);
}

Tensor WideProduct(const Tensor& a_MK, const Tensor& b_KN) {
  if (AreFewRows(a_MK, b_KN)) return FewRows(a_MK, b_KN, {}, {}, at::kFloat);
  if (ByKernel(a_MK, b_KN)) {
    Tensor out_MN = EmptyProduct(a_MK, b_KN, at::kFloat);
    MultiplyByKernel(a_MK, b_KN, {}, {}, out_MN);
    return out_MN;
  }
  if (MultiplyInFloat32(a_MK)) return at::mm(Widen(a_MK), Widen(b_KN));
  if (SumsWide(a_MK)) return at::mm(a_MK, b_KN, at::kFloat);
  return Widen(at::mm(a_MK, b_KN));
}

void AddGradientProduct(const Tensor& sum_MN, const Tensor& a_KM, const Tensor& b_KN) {
  // A transposed sum is the sum of the transposed product.
  if (!Contiguous(sum_MN) && TransposedContiguous(sum_MN)) {
    AddGradientProduct(sum_MN.t(), b_KN, a_KM);
    return;
  }
  Tensor sum = sum_MN;
  const Tensor a_MK = a_KM.t();
  if (a_KM.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a_MK, b_KN);
  } else if (MultiplyInFloat32(a_KM)) {
    sum.addmm_(Widen(a_MK), Widen(b_KN));
  } else if (KernelsTake(a_KM) && Contiguous(a_KM) && Contiguous(b_KN)) {
    AddGradientByKernel(sum, a_KM, b_KN);
  } else if (SumsWide(a_KM) && Contiguous(sum)) {
    at::addmm_out(sum, sum, a_MK, b_KN, at::kFloat);
  } else {
    sum.add_(at::mm(a_MK, b_KN));
  }
}

Tensor LinearForward(const Tensor& x_TI, const Tensor& weight_OI, const Tensor& bias_O,
                     const Tensor& residual_TO) {
  const Tensor weight_IO = weight_OI.t();
  const bool plain_residual = !residual_TO.defined() || residual_TO.is_contiguous();
  if (AreFewRows(x_TI, weight_IO) && plain_residual) {
    return FewRows(x_TI, weight_IO, bias_O, residual_TO, x_TI.scalar_type());
  }
  if (ByKernel(x_TI, weight_IO)) {
    Tensor out_TO = EmptyProduct(x_TI, weight_IO, at::kBFloat16);
    MultiplyByKernel(x_TI, weight_IO, bias_O, residual_TO, out_TO);
    return out_TO;
  }
  Tensor y_TO;
  if (!bias_O.defined()) {
    y_TO = Product(x_TI, weight_IO);
  } else if (MultiplyInFloat32(x_TI)) {
    y_TO = at::addmm(Widen(bias_O), Widen(x_TI), Widen(weight_IO)).to(at::kBFloat16);
  } else {
    y_TO = at::addmm(bias_O, x_TI, weight_IO);
  }
  return residual_TO.defined() ? y_TO.add_(residual_TO) : y_TO;
}

Tensor LinearBackward(const Tensor& dy_TO, const Tensor& x_TI, const Tensor& weight_OI,
                      const Tensor& dweight_OI, const Tensor& dbias_O) {
  AddGradientProduct(dweight_OI, dy_TO, x_TI);
  if (dbias_O.defined()) {
    if (OnKernels(dy_TO)) {
      WithReal(dy_TO, [&]<class Real>(RealTag<Real>) {
        AddColumnSumsCpu(In<Real>(dy_TO), dy_TO.size(0), dy_TO.size(1), Out<float>(dbias_O));
      });
    } else {
      Tensor(dbias_O).add_(at::sum(dy_TO, {0}, /*keepdim=*/false, dbias_O.scalar_type()));
    }
  }
  return Product(dy_TO, weight_OI);
}

}  // namespace trainyard::worker

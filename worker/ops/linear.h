// Products of matrices, and the linear layer made of them.
// Shape letters: T tokens, I input width, O output width; M, N, K of a plain product.
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// a b. `b` may be a transposed view; `a` may have one column more than b has rows, of zeros. In
// bfloat16 on a machine without bfloat16 products it multiplies in float32 and rounds once: there
// ATen's own bfloat16 product is ten times slower than float32's (6.5 against 65 GFLOP/s on Zen 3).
Tensor Product(const Tensor& a_MK, const Tensor& b_KN);
// The same in the wide type, not rounded to a narrower one where the kernels run.
Tensor WideProduct(const Tensor& a_MK, const Tensor& b_KN);
// sum += a^T b, where sum may be wider than the factors, and a transposed view.
void AddGradientProduct(const Tensor& sum_MN, const Tensor& a_KM, const Tensor& b_KN);

// y = x W^T + b + residual. `bias_O` and `residual_TO` may be undefined. The weight may be a
// transposed view (GPT-2's Conv1D stores [in, out]).
Tensor LinearForward(const Tensor& x_TI, const Tensor& weight_OI, const Tensor& bias_O,
                     const Tensor& residual_TO = {});
// dx = dy W;  dW += dy^T x;  db += the sum of dy over tokens.
Tensor LinearBackward(const Tensor& dy_TO, const Tensor& x_TI, const Tensor& weight_OI,
                      const Tensor& dweight_OI, const Tensor& dbias_O);

}  // namespace trainyard::worker

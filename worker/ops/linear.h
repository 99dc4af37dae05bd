// Products of matrices, and the linear layer made of them.
// Shape letters: T tokens, I input width, O output width.
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// a b. In bfloat16 on a machine without bfloat16 arithmetic it multiplies in float32 and rounds
// once: there ATen's own bfloat16 product is ten times slower than float32's (6.5 against 65
// GFLOP/s on Zen 3).
Tensor Product(const Tensor& a_MK, const Tensor& b_KN);
// sum += a b, where sum may be wider than the factors.
void AddProduct(const Tensor& sum_MN, const Tensor& a_MK, const Tensor& b_KN);

// y = x W^T + b. `bias_O` may be undefined. The weight may be a transposed view (GPT-2's Conv1D
// stores [in, out]).
Tensor LinearForward(const Tensor& x_TI, const Tensor& weight_OI, const Tensor& bias_O);
// dx = dy W;  dW += dy^T x;  db += the sum of dy over tokens.
Tensor LinearBackward(const Tensor& dy_TO, const Tensor& x_TI, const Tensor& weight_OI,
                      const Tensor& dweight_OI, const Tensor& dbias_O);

}  // namespace trainyard::worker

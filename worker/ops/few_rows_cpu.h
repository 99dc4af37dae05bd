// A linear layer for a few rows, as decoding has them: bound by reading the weights, which it does
// once, in the order in which they lie. What it gives for a row does not depend on the other rows.
#pragma once

#include <cstdint>

#include "worker/ops/cpu_kernels.h"

namespace trainyard::worker {

constexpr int64_t kFewRowsMax = 16;

// out = x W^T + bias + residual, in float32 and rounded once.
template <class Real>
struct FewRowsArgs {
  int64_t rows, inputs, outputs;
  const Real* x_TI;
  int64_t x_stride;
  const Real* weight_OI;
  int64_t weight_stride;
  const Real* bias_O = nullptr;
  const Real* residual_TO = nullptr;  // rows `outputs` apart
  Real* out_TO = nullptr;             // one of the two
  float* wide_out_TO = nullptr;
};
template <class Real>
void FewRowsCpu(const FewRowsArgs<Real>& args);

}  // namespace trainyard::worker

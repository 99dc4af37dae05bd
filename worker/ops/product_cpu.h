// Products of bfloat16 matrices on the CPU, for machines that have them (HasBfloat16Products), out
// of oneDNN's block kernels: float32 sums, the right-hand side packed as the kernels want it while
// it is in the cache, and what follows a product done while its result is. Shape letters: C [M, N]
// = A B with K numbers to a sum. Strides in elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "worker/ops/cpu_kernels.h"

namespace trainyard::worker {

// C = A B, each number rounded once:  bfloat16(A B + bias + residual), or floats as they are.
struct ProductArgs {
  int64_t m, n, k;  // k is even; the last column of A may be padding, of zeros
  const Bfloat16* a_MK;
  int64_t a_stride;
  const Bfloat16* b;  // [K, N], or [N, K] when transposed
  int64_t b_stride;   // even when transposed
  int64_t b_k;        // rows of B: k, or k - 1 when A is padded
  bool b_transposed;
  const Bfloat16* bias_N = nullptr;       // with out_MN
  const Bfloat16* residual_MN = nullptr;  // with out_MN, and its stride
  Bfloat16* out_MN = nullptr;             // one of the two
  float* wide_out_MN = nullptr;
  int64_t out_stride;
  std::span<std::byte> scratch;
};
int64_t ProductScratchBytes(int64_t m, int64_t n, int64_t k, int threads);
void ProductCpu(const ProductArgs& args);

// sum += A^T B: the gradient of a weight. A is [K, M], B is [K, N].
struct GradientProductArgs {
  int64_t m, n, k;
  const Bfloat16* a_KM;
  int64_t a_stride;
  const Bfloat16* b_KN;
  int64_t b_stride;
  float* sum_MN;
  int64_t sum_stride;
  std::span<std::byte> scratch;
};
int64_t GradientProductScratchBytes(int64_t m, int64_t n, int64_t k, int threads);
void GradientProductCpu(const GradientProductArgs& args);

// sum_N += the sum of each column of x [M, N].
template <class Real>
void AddColumnSumsCpu(const Real* x_MN, int64_t m, int64_t n, float* sum_N);

}  // namespace trainyard::worker

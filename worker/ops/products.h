// Products of small blocks by oneDNN's kernels, as LibTorch carries them, and what they read.
#pragma once

#include <ATen/native/CPUBlas.h>

#include <cstdint>

#include "worker/ops/cpu_kernels.h"

namespace trainyard::worker {

// C [M, N] = A B, or C += A B with `add`. A [M, K] and C are row-major; B is row-major for float
// and pairs (pack-inl.h) for Bfloat16, with K even. Strides in elements, of pairs in columns.
inline void BlockProduct(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride,
                         const float* b, int64_t b_stride, bool add, float* c, int64_t c_stride) {
  at::native::cpublas::brgemm(m, n, k, a_stride, b_stride, c_stride, add, a, b, c,
                              /*is_vnni=*/false);
}
inline void BlockProduct(int64_t m, int64_t n, int64_t k, const Bfloat16* a, int64_t a_stride,
                         const Bfloat16* b, int64_t b_stride, bool add, float* c,
                         int64_t c_stride) {
  at::native::cpublas::brgemm(m, n, k, a_stride, b_stride, c_stride, add, a, b, c,
                              /*is_vnni=*/true);
}

// A thread that called BlockProduct holds the tile unit until this one's end.
class BlockProducts {
 public:
  explicit BlockProducts(bool pairs) : pairs_(pairs) {}
  BlockProducts(const BlockProducts&) = delete;
  BlockProducts& operator=(const BlockProducts&) = delete;
  ~BlockProducts() { at::native::cpublas::brgemm_release(pairs_); }

 private:
  const bool pairs_;
};

// Whether this machine multiplies Bfloat16 blocks natively (AVX-512 BF16, AMX).
bool HasBfloat16Products();

}  // namespace trainyard::worker

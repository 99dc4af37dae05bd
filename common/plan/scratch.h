// Scratch memory of the CPU kernels, as worker/ops sizes it (product_cpu.cc, attention_buffers.h);
// a test holds the two together. Bytes; `real`: bytes of a number, 2 or 4.
#pragma once

#include <cstdint>

namespace trainyard::plan {

// Of C [m, n] = A B with k numbers to a sum, and of sum [m, n] += A^T B with k rows; bfloat16 only.
int64_t ProductScratchBytes(int64_t m, int64_t n, int64_t k, int threads);
int64_t GradientProductScratchBytes(int64_t n, int64_t k, int threads);

// Of attention over items of at most `longest` tokens.
int64_t AttentionScratchBytes(int64_t head_width, int64_t longest, int64_t real, int threads,
                              bool backward);

}  // namespace trainyard::plan

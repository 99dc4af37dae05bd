#include "worker/ops/product_cpu.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "common/require.h"
#include "worker/ops/products.h"

#ifndef TRAINYARD_WORKER_OPS_PRODUCT_CPU_SHARED_
#define TRAINYARD_WORKER_OPS_PRODUCT_CPU_SHARED_
namespace trainyard::worker {

// A panel is a part of B, k_first .. + k_count by n_first .. + n_count, as pairs `n_count` wide.
struct PanelPlace {
  int64_t k_first, k_count, n_first, n_count;
};

}  // namespace trainyard::worker
#endif  // TRAINYARD_WORKER_OPS_PRODUCT_CPU_SHARED_

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/product_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// Columns begin .. end - 1 of a panel.
void PackColumns(const ProductArgs& a, const PanelPlace& at, int64_t begin, int64_t end,
                 Bfloat16* panel) {
  const int64_t n = at.n_first + begin;
  const int64_t present = std::min(at.k_count, a.b_k - at.k_first);
  Bfloat16* to = panel + 2 * begin;
  if (a.b_transposed) {
    PairsOfTransposed(a.b + n * a.b_stride + at.k_first, a.b_stride, present, end - begin, to,
                      at.n_count);
  } else {
    PairsOf(a.b + at.k_first * a.b_stride + n, a.b_stride, present, end - begin, to, at.n_count);
  }
}

// Rounds sums, with what is added to them, into rows m .. and columns n .. of the output.
void RoundBlock(const ProductArgs& a, const float* sums, int64_t sums_stride, int64_t m, int64_t n,
                int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* sum = sums + r * sums_stride;
    const int64_t at = (m + r) * a.out_stride + n;
    ForLanes(columns, [&](auto d, int64_t i) HWY_ATTR {
      auto v = hn::LoadU(d, sum + i);
      if (a.bias_N != nullptr) v = hn::Add(v, LoadFloats(d, a.bias_N + n + i));
      if (a.residual_MN != nullptr) v = hn::Add(v, LoadFloats(d, a.residual_MN + at + i));
      StoreFloats(v, d, a.out_MN + at + i);
    });
  }
}

// Rows of A^T for columns m .. m + rows - 1 of A, padded with zeros to `k_padded`.
void PackTransposedRows(const GradientProductArgs& a, int64_t m, int64_t rows, int64_t k_padded,
                        Bfloat16* out) {
  Transpose(a.a_KM + m, a.a_stride, a.k, rows, out, k_padded);
  for (int64_t r = 0; r < rows; ++r) {
    std::fill(out + r * k_padded + a.k, out + (r + 1) * k_padded, Bfloat16(0.0F));
  }
}

// Pairs of rows k .. k + count - 1 of B, all columns; rows beyond the last are zero.
void PackRows(const GradientProductArgs& a, int64_t k, int64_t count, Bfloat16* packed) {
  const int64_t present = std::clamp<int64_t>(a.k - k, 0, count);
  Bfloat16* out = packed + k * a.n;
  PairsOf(a.b_KN + k * a.b_stride, a.b_stride, present, a.n, out, a.n);
  const int64_t written = (present + 1) / 2 * 2;
  std::fill(out + written * a.n, out + count * a.n, Bfloat16(0.0F));
}

template <class Real>
void AddColumnSums(const Real* x, int64_t m, int64_t n, int64_t begin, int64_t end, float* sum) {
  // Four rows at a time: a sum waits for the store of the one before.
  for (int64_t r = 0; r < m; r += 4) {
    const int64_t rows = std::min<int64_t>(4, m - r);
    const Real* row = x + r * n + begin;
    ForLanes(end - begin, [&](auto d, int64_t i) HWY_ATTR {
      float* to = sum + begin + i;
      auto total = LoadFloats(d, row + i);
      for (int64_t next = 1; next < rows; ++next) {
        total = hn::Add(total, LoadFloats(d, row + next * n + i));
      }
      hn::StoreU(hn::Add(hn::LoadU(d, to), total), d, to);
    });
  }
}
void AddColumnSumsF32(const float* x, int64_t m, int64_t n, int64_t begin, int64_t end,
                      float* sum) {
  AddColumnSums(x, m, n, begin, end, sum);
}
void AddColumnSumsBf16(const Bfloat16* x, int64_t m, int64_t n, int64_t begin, int64_t end,
                       float* sum) {
  AddColumnSums(x, m, n, begin, end, sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

HWY_EXPORT(PackColumns);
HWY_EXPORT(RoundBlock);
HWY_EXPORT(PackTransposedRows);
HWY_EXPORT(PackRows);
HWY_EXPORT(AddColumnSumsF32);
HWY_EXPORT(AddColumnSumsBf16);

// A packed panel of B and the rows of A that meet it stay in a second cache of 1 MiB.
constexpr int64_t kPanelBytes = int64_t{640} << 10;
constexpr int64_t kPanelColumnsMax = 512;
constexpr int64_t kRows = 128;      // of A in one call of a kernel
constexpr int64_t kSumsMax = 1024;  // numbers added in one call; a longer sum is continued
constexpr int64_t kAlign = 64;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Numbers added in one call: k in about equal parts, each a multiple of 32 but for the last.
int64_t SumsOf(int64_t k) {
  const int64_t parts = (k + kSumsMax - 1) / kSumsMax;
  return std::min(k, RoundUp((k + parts - 1) / parts, 32));
}

// Columns of a panel: n in about equal parts.
int64_t PanelColumns(int64_t n, int64_t sums) {
  const int64_t most = std::clamp<int64_t>(kPanelBytes / 2 / sums / 64 * 64, 64, kPanelColumnsMax);
  const int64_t panels = (n + most - 1) / most;
  return std::min(n, RoundUp((n + panels - 1) / panels, 64));
}

// The rows of a thread begin at multiples of 32, so that few blocks are ragged.
int64_t RowsPerThread(int64_t m, int64_t threads) {
  return RoundUp((m + threads - 1) / threads, 32);
}

// Calls block(thread, first row, rows) for blocks that cover m rows, each thread its own.
template <class Block>
void OverRowBlocks(int64_t m, Block block) {
  const int64_t threads = at::get_num_threads(), rows_per_thread = RowsPerThread(m, threads);
  at::parallel_for(0, threads, 1, [&](int64_t first, int64_t last) {
    const BlockProducts products(/*pairs=*/true);
    for (int64_t thread = first; thread < last; ++thread) {
      const int64_t end = std::min(m, (thread + 1) * rows_per_thread);
      for (int64_t row = thread * rows_per_thread; row < end; row += kRows) {
        block(thread, row, std::min(kRows, end - row));
      }
    }
  });
}

// Where ProductCpu keeps float sums: the wide output itself; else, when one call does a whole sum,
// a block per thread; else all rows and columns.
struct Sums {
  float* base;
  int64_t stride;
  bool whole;  // holds every row and column

  float* At(int64_t thread, int64_t m, int64_t n) const {
    return whole ? base + m * stride + n : base + thread * kRows * stride;
  }
};

}  // namespace

int64_t ProductScratchBytes(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t sums = SumsOf(k), columns = PanelColumns(n, sums);
  const int64_t floats = sums < k ? m * n : threads * kRows * columns;
  return RoundUp(columns * RoundUp(sums, 2) * 2, kAlign) + floats * 4;
}

void ProductCpu(const ProductArgs& args) {
  const auto threads = static_cast<int>(at::get_num_threads());
  const int64_t step = SumsOf(args.k), columns = PanelColumns(args.n, step);
  REQUIRE(args.k % 2 == 0 && static_cast<int64_t>(args.scratch.size()) >=
                                 ProductScratchBytes(args.m, args.n, args.k, threads));
  auto* panel = reinterpret_cast<Bfloat16*>(args.scratch.data());
  const bool wide = args.wide_out_MN != nullptr, one_call = step >= args.k;
  const Sums sums = wide ? Sums{args.wide_out_MN, args.out_stride, true}
                         : Sums{reinterpret_cast<float*>(args.scratch.data() +
                                                         RoundUp(columns * step * 2, kAlign)),
                                one_call ? columns : args.n, !one_call};
  for (int64_t k = 0; k < args.k; k += step) {
    for (int64_t n = 0; n < args.n; n += columns) {
      const PanelPlace at{.k_first = k,
                          .k_count = std::min(step, args.k - k),
                          .n_first = n,
                          .n_count = std::min(columns, args.n - n)};
      at::parallel_for(0, (at.n_count + 31) / 32, 1, [&](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(PackColumns)
        (args, at, 32 * begin, std::min(32 * end, at.n_count), panel);
      });
      OverRowBlocks(args.m, [&](int64_t thread, int64_t m, int64_t rows) {
        float* c = sums.At(thread, m, n);
        BlockProduct(rows, at.n_count, at.k_count, args.a_MK + m * args.a_stride + k, args.a_stride,
                     panel, at.n_count, k > 0, c, sums.stride);
        if (wide || k + step < args.k) return;
        HWY_DYNAMIC_DISPATCH(RoundBlock)(args, c, sums.stride, m, n, rows, at.n_count);
      });
    }
  }
}

int64_t GradientProductScratchBytes(int64_t /*m*/, int64_t n, int64_t k, int threads) {
  const int64_t k_padded = RoundUp(k, 32);
  return RoundUp(k_padded * n * 2, kAlign) + threads * kRows * k_padded * 2;
}

void GradientProductCpu(const GradientProductArgs& args) {
  const int64_t threads = at::get_num_threads(), k_padded = RoundUp(args.k, 32);
  REQUIRE(static_cast<int64_t>(args.scratch.size()) >=
          GradientProductScratchBytes(args.m, args.n, args.k, static_cast<int>(threads)));
  auto* packed = reinterpret_cast<Bfloat16*>(args.scratch.data());
  auto* rows_of_threads =
      reinterpret_cast<Bfloat16*>(args.scratch.data() + RoundUp(k_padded * args.n * 2, kAlign));
  at::parallel_for(0, k_padded / 32, 1, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(PackRows)(args, 32 * begin, 32 * (end - begin), packed);
  });
  const int64_t step = SumsOf(k_padded), columns = PanelColumns(args.n, step);
  OverRowBlocks(args.m, [&](int64_t thread, int64_t m, int64_t rows) {
    Bfloat16* own_rows = rows_of_threads + thread * kRows * k_padded;
    HWY_DYNAMIC_DISPATCH(PackTransposedRows)(args, m, rows, k_padded, own_rows);
    for (int64_t n = 0; n < args.n; n += columns) {
      for (int64_t k = 0; k < k_padded; k += step) {
        BlockProduct(rows, std::min(columns, args.n - n), std::min(step, k_padded - k),
                     own_rows + k, k_padded, packed + k * args.n + 2 * n, args.n, /*add=*/true,
                     args.sum_MN + m * args.sum_stride + n, args.sum_stride);
      }
    }
  });
}

constexpr int64_t kColumnsGrain = 64;

template <>
void AddColumnSumsCpu<float>(const float* x_MN, int64_t m, int64_t n, float* sum_N) {
  at::parallel_for(0, n, kColumnsGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddColumnSumsF32)(x_MN, m, n, begin, end, sum_N);
  });
}
template <>
void AddColumnSumsCpu<Bfloat16>(const Bfloat16* x_MN, int64_t m, int64_t n, float* sum_N) {
  at::parallel_for(0, n, kColumnsGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddColumnSumsBf16)(x_MN, m, n, begin, end, sum_N);
  });
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

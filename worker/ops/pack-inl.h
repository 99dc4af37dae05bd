// Layouts that oneDNN's block products read (products.h), and the transposes that make them.
//   pairs of [K, N]:  [K/2][N][2], the two K of a pair side by side; an odd last K is padded with
//   0.
// Included once per instruction set, as simd-inl.h.
#include <cstdint>
#include <cstring>

#include "worker/ops/simd-inl.h"

#if defined(TRAINYARD_WORKER_OPS_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRAINYARD_WORKER_OPS_PACK_INL_H_
#undef TRAINYARD_WORKER_OPS_PACK_INL_H_
#else
#define TRAINYARD_WORKER_OPS_PACK_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// out[c][r] = in[r][c] for 4 x 4 words of 32 bits.
HWY_INLINE void TransposeFour(const uint32_t* HWY_RESTRICT in, int64_t in_stride,
                              uint32_t* HWY_RESTRICT out, int64_t out_stride) {
  const hn::Full128<uint32_t> d;
  const hn::Full128<uint64_t> d64;
  const auto r0 = hn::LoadU(d, in), r1 = hn::LoadU(d, in + in_stride);
  const auto r2 = hn::LoadU(d, in + 2 * in_stride), r3 = hn::LoadU(d, in + 3 * in_stride);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, out);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, out + out_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, out + 2 * out_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, out + 3 * out_stride);
}

// out[c][r] = in[r][c] for 32-bit words; strides in words. By squares of 16, as TransposeHalves.
HWY_INLINE void TransposeWords(const uint32_t* in, int64_t in_stride, int64_t rows, int64_t columns,
                               uint32_t* out, int64_t out_stride) {
  constexpr int64_t kSquare = 16;
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t r0 = 0; r0 < whole_rows; r0 += kSquare) {
    const int64_t r1 = HWY_MIN(r0 + kSquare, whole_rows);
    for (int64_t c0 = 0; c0 < whole_columns; c0 += kSquare) {
      const int64_t c1 = HWY_MIN(c0 + kSquare, whole_columns);
      for (int64_t r = r0; r < r1; r += 4) {
        for (int64_t c = c0; c < c1; c += 4) {
          TransposeFour(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
        }
      }
    }
  }
  for (int64_t r = whole_rows; r < rows; ++r) {
    for (int64_t c = 0; c < whole_columns; ++c) out[c * out_stride + r] = in[r * in_stride + c];
  }
  for (int64_t c = whole_columns; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) out[c * out_stride + r] = in[r * in_stride + c];
  }
}

// out[c][r] = in[r][c] for 8 x 8 numbers of 16 bits.
HWY_INLINE void TransposeEight(const uint16_t* HWY_RESTRICT in, int64_t in_stride,
                               uint16_t* HWY_RESTRICT out, int64_t out_stride) {
  const hn::Full128<uint16_t> d;
  const hn::Full128<uint32_t> d32;
  const hn::Full128<uint64_t> d64;
  hn::Vec<decltype(d32)> a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    const uint16_t* from = in + i * in_stride;
    const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + in_stride);
    a[i] = hn::BitCast(d32, hn::InterleaveLower(d, r0, r1));
    a[i + 1] = hn::BitCast(d32, hn::InterleaveUpper(d, r0, r1));
  }
  // a[i]: rows i, i + 1; columns 0-3 (even i) or 4-7 (odd i).
  for (int i = 0; i < 8; i += 4) {
    for (int half = 0; half < 2; ++half) {
      b[i + 2 * half] = hn::InterleaveLower(d32, a[i + half], a[i + half + 2]);
      b[i + 2 * half + 1] = hn::InterleaveUpper(d32, a[i + half], a[i + half + 2]);
    }
  }
  // b[i]: rows 0-3 (i < 4) or 4-7; two columns each, 2 (i % 4) and the next.
  for (int i = 0; i < 4; ++i) {
    const auto low = hn::BitCast(d64, b[i]), high = hn::BitCast(d64, b[i + 4]);
    uint16_t* to = out + 2 * i * out_stride;
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low, high)), d, to);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low, high)), d, to + out_stride);
  }
}

// out[c][r] = in[r][c] for 16-bit numbers; strides in numbers. By squares of 32: a cache line of
// either side is used whole before it is left, whatever the strides.
HWY_INLINE void TransposeHalves(const uint16_t* in, int64_t in_stride, int64_t rows,
                                int64_t columns, uint16_t* out, int64_t out_stride) {
  constexpr int64_t kSquare = 32;
  const int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (int64_t r0 = 0; r0 < whole_rows; r0 += kSquare) {
    const int64_t r1 = HWY_MIN(r0 + kSquare, whole_rows);
    for (int64_t c0 = 0; c0 < whole_columns; c0 += kSquare) {
      const int64_t c1 = HWY_MIN(c0 + kSquare, whole_columns);
      for (int64_t r = r0; r < r1; r += 8) {
        for (int64_t c = c0; c < c1; c += 8) {
          TransposeEight(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
        }
      }
    }
  }
  for (int64_t r = whole_rows; r < rows; ++r) {
    for (int64_t c = 0; c < whole_columns; ++c) out[c * out_stride + r] = in[r * in_stride + c];
  }
  for (int64_t c = whole_columns; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) out[c * out_stride + r] = in[r * in_stride + c];
  }
}

// [rows, columns] -> [columns, rows], for either type.
HWY_INLINE void Transpose(const float* in, int64_t in_stride, int64_t rows, int64_t columns,
                          float* out, int64_t out_stride) {
  TransposeWords(reinterpret_cast<const uint32_t*>(in), in_stride, rows, columns,
                 reinterpret_cast<uint32_t*>(out), out_stride);
}
HWY_INLINE void Transpose(const Bfloat16* in, int64_t in_stride, int64_t rows, int64_t columns,
                          Bfloat16* out, int64_t out_stride) {
  TransposeHalves(reinterpret_cast<const uint16_t*>(in), in_stride, rows, columns,
                  reinterpret_cast<uint16_t*>(out), out_stride);
}

// in [K, N] -> its pairs; `out_stride`: N of the output's rows.
HWY_INLINE void PairsOf(const Bfloat16* HWY_RESTRICT in, int64_t in_stride, int64_t k_count,
                        int64_t n_count, Bfloat16* HWY_RESTRICT out, int64_t out_stride) {
  const hn::ScalableTag<uint32_t> d32;
  const hn::Rebind<uint16_t, decltype(d32)> d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d32));
  for (int64_t k = 0; k < k_count; k += 2) {
    const auto* first = reinterpret_cast<const uint16_t*>(in + k * in_stride);
    const auto* second = first + in_stride;
    auto* to = reinterpret_cast<uint32_t*>(out + k * out_stride);
    const bool has_second = k + 1 < k_count;
    int64_t n = 0;
    for (; n + lanes <= n_count; n += lanes) {
      const auto low = hn::PromoteTo(d32, hn::LoadU(d16, first + n));
      const auto high = has_second ? hn::PromoteTo(d32, hn::LoadU(d16, second + n)) : hn::Zero(d32);
      hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), d32, to + n);
    }
    for (; n < n_count; ++n) {
      const uint32_t high = has_second ? second[n] : 0U;
      to[n] = first[n] | (high << 16);
    }
  }
}

// in [N, K], so the pairs lie side by side already -> the pairs of [K, N]. K is even.
HWY_INLINE void PairsOfTransposed(const Bfloat16* in, int64_t in_stride, int64_t k_count,
                                  int64_t n_count, Bfloat16* out, int64_t out_stride) {
  TransposeWords(reinterpret_cast<const uint32_t*>(in), in_stride / 2, n_count, k_count / 2,
                 reinterpret_cast<uint32_t*>(out), out_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#endif  // once per target

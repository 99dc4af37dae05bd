// Moving blocks of rows in and out of the layouts that products read. Once per instruction set.
#include <algorithm>
#include <cstring>

#include "worker/ops/attention_buffers.h"
#include "worker/ops/pack-inl.h"

#if defined(TRAINYARD_WORKER_OPS_ATTENTION_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRAINYARD_WORKER_OPS_ATTENTION_BLOCKS_INL_H_
#undef TRAINYARD_WORKER_OPS_ATTENTION_BLOCKS_INL_H_
#else
#define TRAINYARD_WORKER_OPS_ATTENTION_BLOCKS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// Copies `rows` rows of `width`, then zero rows up to `padded`.
template <class Real>
HWY_INLINE void CopyRows(const Real* from, int64_t stride, int64_t rows, int64_t padded,
                         int64_t width, Real* to) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(to + r * width, from + r * stride, static_cast<size_t>(width) * sizeof(Real));
  }
  std::memset(static_cast<void*>(to + rows * width), 0,
              static_cast<size_t>((padded - rows) * width) * sizeof(Real));
}

// The right-hand operand [H, 64] made of 64 rows.
HWY_INLINE void OperandOfTransposed(const float* rows_QH, int64_t width, float* out_HQ) {
  Transpose(rows_QH, width, kQueries, width, out_HQ, kQueries);
}
HWY_INLINE void OperandOfTransposed(const Bfloat16* rows_QH, int64_t width, Bfloat16* out_HQ) {
  PairsOfTransposed(rows_QH, width, width, kQueries, out_HQ, kQueries);
}
// The right-hand operand [64, H] made of 64 rows.
HWY_INLINE void OperandOf(const float* rows_QH, int64_t width, float* out_QH) {
  std::memcpy(out_QH, rows_QH, static_cast<size_t>(kQueries * width) * sizeof(float));
}
HWY_INLINE void OperandOf(const Bfloat16* rows_QH, int64_t width, Bfloat16* out_QH) {
  PairsOf(rows_QH, width, kQueries, width, out_QH, width);
}

// Stores lanes i.. of the neighbouring rows k and k + 1 of a [K, 64] matrix as an operand.
template <class D>
HWY_INLINE void StoreOperand(D d, hn::Vec<D> row0, hn::Vec<D> row1, int64_t k, int64_t i,
                             float* out_KQ) {
  hn::StoreU(row0, d, out_KQ + k * kQueries + i);
  hn::StoreU(row1, d, out_KQ + (k + 1) * kQueries + i);
}
template <class D>
HWY_INLINE void StoreOperand(D d, hn::Vec<D> row0, hn::Vec<D> row1, int64_t k, int64_t i,
                             Bfloat16* out_KQ) {
  const hn::Rebind<uint32_t, D> d32;
  const auto pair = hn::Or(RoundedUpperHalf(d, row0), hn::ShiftLeft<16>(RoundedUpperHalf(d, row1)));
  hn::StoreU(pair, d32, reinterpret_cast<uint32_t*>(out_KQ + k * kQueries) + i);
}

// Hides from each query the keys that it may not see: row k of the block is key `first_key` + k,
// lane i is query `first_query` + i. Keys from the item's `length` on are hidden from all.
HWY_INLINE void HideUnseen(const AttentionLayout& layout, int64_t length, int64_t first_key,
                           int64_t keys, int64_t first_query, float* score_KQ) {
  int64_t k = 0;
  const bool all_see_back =
      layout.window == 0 || first_key >= first_query + kQueries - layout.window;
  if (!layout.causal && layout.window == 0) {
    k = std::max<int64_t>(0, length - first_key);
  } else if (all_see_back) {
    k = std::max<int64_t>(0, first_query - first_key);  // earlier keys are seen by all
  }
  const int64_t ahead = layout.causal ? 0 : layout.window - 1;  // of the query itself
  for (; k < keys; ++k) {
    const int64_t key = first_key + k;
    float* score_Q = score_KQ + k * kQueries;
    int64_t later = std::clamp<int64_t>(key - ahead - first_query, 0, kQueries);
    if (key >= length) later = kQueries;
    std::fill_n(score_Q, later, kNever);
    if (layout.window == 0) continue;
    const int64_t seen = std::clamp<int64_t>(key + layout.window - first_query, 0, kQueries);
    std::fill(score_Q + seen, score_Q + kQueries, kNever);
  }
}

// The scores as the softmax takes them, times what ScaleInSoftmax says.
HWY_INLINE void CapScores(const AttentionLayout& layout, int64_t keys, float* score_KQ) {
  if (layout.softcap == 0) return;
  ForLanes(keys * kQueries, [&](auto d, int64_t i) HWY_ATTR {
    const auto ratio =
        hn::Mul(hn::LoadU(d, score_KQ + i), hn::Set(d, layout.scale / layout.softcap));
    hn::StoreU(hn::Mul(Tanh(d, ratio), hn::Set(d, layout.softcap)), d, score_KQ + i);
  });
}
HWY_INLINE float ScaleInSoftmax(const AttentionLayout& layout) {
  return layout.softcap == 0 ? layout.scale : 1.0F;
}

// Stores the first `rows` rows of a float [Q, H] matrix, `stride` apart.
template <class Real>
HWY_INLINE void StoreRows(const float* from_QH, int64_t rows, int64_t width, Real* to,
                          int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    ForLanes(width, [&](auto d, int64_t i) HWY_ATTR {
      StoreFloats(hn::LoadU(d, from_QH + r * width + i), d, to + r * stride + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#endif  // once per target

// How packed items look to operations on [items, heads, tokens, width], which take items of one
// length together. Shape letters as in attention.h; here S counts the items of a run.
#pragma once

#include <vector>

#include "worker/ops/attention.h"

namespace trainyard::worker {

// Neighbouring items of one length, which one ATen call can take together.
struct Run {
  int64_t first_token = 0;
  int64_t items = 0;
  int64_t length = 0;
};

// At most `items_max` items in each. Empty items are left out: ATen divides by their length.
inline std::vector<Run> RunsOf(const std::vector<int32_t>& cu_seqlens,
                               int64_t items_max = INT64_MAX) {
  std::vector<Run> runs;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const int64_t length = cu_seqlens[i + 1] - cu_seqlens[i];
    if (length == 0) continue;
    if (runs.empty() || runs.back().length != length || runs.back().items == items_max) {
      runs.push_back({.first_token = cu_seqlens[i], .items = 0, .length = length});
    }
    ++runs.back().items;
  }
  return runs;
}

// A run's part of a [T, heads * H] tensor, as [items, heads, length, H] without a copy.
inline Tensor HeadsOf(const Tensor& x, const Run& run, int64_t first_head, int64_t heads,
                      int64_t width) {
  return x.narrow(0, run.first_token, run.items * run.length)
      .narrow(1, first_head * width, heads * width)
      .view({run.items, run.length, heads, width})
      .transpose(1, 2);
}

struct Packed {
  Tensor query_SQTH, key_SKTH, value_SKTH;
};

inline Packed Split(const Tensor& qkv_TE, const Run& run, const AttentionShape& shape) {
  return {HeadsOf(qkv_TE, run, 0, shape.heads, shape.width),
          HeadsOf(qkv_TE, run, shape.heads, shape.kv_heads, shape.width),
          HeadsOf(qkv_TE, run, shape.heads + shape.kv_heads, shape.kv_heads, shape.width)};
}

// One key head for every query head.
inline Tensor Repeat(const Tensor& x_SKTH, const AttentionShape& shape) {
  if (shape.kv_heads == shape.heads) return x_SKTH;
  return x_SKTH.repeat_interleave(shape.heads / shape.kv_heads, 1);
}

// The transpose of Repeat: the gradients of a key head's query heads add up.
inline Tensor Gather(const Tensor& dx_SQTH, const AttentionShape& shape) {
  if (shape.kv_heads == shape.heads) return dx_SQTH;
  return dx_SQTH.unflatten(1, {shape.kv_heads, shape.heads / shape.kv_heads}).sum(2);
}

}  // namespace trainyard::worker

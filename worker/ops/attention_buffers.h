// What attention_forward_cpu.cc and attention_backward_cpu.cc work in, and how they share the work.
// Shape letters as in attention.h; Q a block of queries, K of keys.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/require.h"
#include "worker/ops/attention_cpu.h"

namespace trainyard::worker {

constexpr int64_t kQueries = 64;   // of a block
constexpr int64_t kKeysMax = 512;  // of a block: 128 KiB of float scores stay in the second cache
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kLeast = -1e30F;  // below every score

inline int64_t PaddedLength(int64_t length) {
  return (length + kQueries - 1) / kQueries * kQueries;
}

// Hands out aligned pieces of one buffer.
class Scratch {
 public:
  explicit Scratch(std::byte* begin) : next_(begin) {}
  template <class T>
  T* Take(int64_t count) {
    T* taken = reinterpret_cast<T*>(next_);
    next_ += Bytes<T>(count);
    return taken;
  }
  template <class T>
  static int64_t Bytes(int64_t count) {
    return (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
  }

 private:
  std::byte* next_;
};

// The first key that any of the 64 queries from `query` on sees, down to a multiple of 64.
inline int64_t FirstKey(const AttentionLayout& layout, int64_t query) {
  if (layout.window == 0) return 0;
  return std::max<int64_t>(0, query - layout.window + 1) / kQueries * kQueries;
}

// One past the last key that any of them sees in an item of `length` tokens, up to a multiple
// of 64.
inline int64_t EndKey(const AttentionLayout& layout, int64_t length, int64_t query) {
  if (layout.causal) return query + kQueries;
  if (layout.window == 0) return PaddedLength(length);
  return std::min(PaddedLength(length), PaddedLength(query + kQueries + layout.window - 1));
}

// One key head of one item.
struct AttentionPart {
  int64_t first_token, length, kv_head;
};

// What one thread works with; sized for the longest item.
template <class Real>
struct AttentionBuffers {
  // All keys and values of the part, padded.
  Real *keys_KH, *values_KH, *keys_HK, *values_HK;
  float *dkeys_KH, *dvalues_KH;  // backward
  // A block of queries, and of its output's gradient.
  Real *rows_QH, *query_HQ, *query_QH, *dout_HQ, *dout_QH;
  // A block of keys against it.
  float *score_KQ, *dp_KQ;
  Real *p_KQ, *ds_KQ, *p_pairs_KQ, *ds_pairs_KQ;
  float *out_HQ, *out_QH;
  float *max_Q, *sum_Q, *logsumexp_Q, *delta_Q;
};

// Lays the buffers out from `scratch`; with a null begin its end tells the bytes needed.
template <class Real, class Take>
AttentionBuffers<Real> LayOut(const AttentionLayout& layout, bool backward, Take take) {
  int64_t longest = 0;
  for (size_t i = 0; i + 1 < layout.cu_seqlens.size(); ++i) {
    longest = std::max<int64_t>(longest, layout.cu_seqlens[i + 1] - layout.cu_seqlens[i]);
  }
  const int64_t h = layout.width, keys = PaddedLength(longest);
  const int64_t block = std::min(kKeysMax, keys) * kQueries;
  AttentionBuffers<Real> b{};
  b.keys_KH = take.template operator()<Real>(keys * h);
  b.rows_QH = take.template operator()<Real>(kQueries * h);
  b.query_HQ = take.template operator()<Real>(h * kQueries);
  b.score_KQ = take.template operator()<float>(block);
  b.p_pairs_KQ = take.template operator()<Real>(block);
  b.out_HQ = take.template operator()<float>(h * kQueries);
  b.out_QH = take.template operator()<float>(h * kQueries);
  b.max_Q = take.template operator()<float>(kQueries);
  b.sum_Q = take.template operator()<float>(kQueries);
  b.logsumexp_Q = take.template operator()<float>(kQueries);
  if (!backward) {
    b.values_HK = take.template operator()<Real>(keys * h);
    return b;
  }
  b.values_KH = take.template operator()<Real>(keys * h);
  b.keys_HK = take.template operator()<Real>(keys * h);
  b.dkeys_KH = take.template operator()<float>(keys * h);
  b.dvalues_KH = take.template operator()<float>(keys * h);
  b.query_QH = take.template operator()<Real>(kQueries * h);
  b.dout_HQ = take.template operator()<Real>(h * kQueries);
  b.dout_QH = take.template operator()<Real>(kQueries * h);
  b.dp_KQ = take.template operator()<float>(block);
  b.p_KQ = take.template operator()<Real>(block);
  b.ds_KQ = take.template operator()<Real>(block);
  b.ds_pairs_KQ = take.template operator()<Real>(block);
  b.delta_Q = take.template operator()<float>(kQueries);
  return b;
}

template <class Real>
int64_t BytesOfOneThread(const AttentionLayout& layout, bool backward) {
  int64_t bytes = 0;
  LayOut<Real>(layout, backward, [&]<class T>(int64_t count) -> T* {
    bytes += Scratch::Bytes<T>(count);
    return nullptr;
  });
  return bytes;
}

// Calls work(part, buffers) for every key head of every item. A thread takes neighbouring parts
// that cost about as much as any other thread's.
template <class Real, class Work>
void OverAttentionParts(const AttentionLayout& layout, bool backward, std::span<std::byte> scratch,
                        Work work) {
  std::vector<AttentionPart> parts;
  std::vector<int64_t> cost_until;
  int64_t cost = 0;
  for (size_t item = 0; item + 1 < layout.cu_seqlens.size(); ++item) {
    const int64_t first = layout.cu_seqlens[item], length = layout.cu_seqlens[item + 1] - first;
    if (length == 0) continue;
    for (int64_t kv_head = 0; kv_head < layout.kv_heads; ++kv_head) {
      parts.push_back({.first_token = first, .length = length, .kv_head = kv_head});
      cost += PaddedLength(length) * PaddedLength(length);
      cost_until.push_back(cost);
    }
  }
  const int64_t bytes = BytesOfOneThread<Real>(layout, backward);
  const int64_t pieces = std::min<int64_t>(at::get_num_threads(), std::ssize(parts));
  REQUIRE(static_cast<int64_t>(scratch.size()) >= pieces * bytes);
  // The first part that lies beyond the given share of the whole cost.
  const auto begin_of = [&](int64_t piece) {
    return std::upper_bound(cost_until.begin(), cost_until.end(), cost * piece / pieces) -
           cost_until.begin();
  };
  at::parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      Scratch thread_scratch(scratch.data() + piece * bytes);
      const auto buffers = LayOut<Real>(
          layout, backward, [&]<class T>(int64_t count) { return thread_scratch.Take<T>(count); });
      const int64_t end = begin_of(piece + 1);
      for (int64_t i = begin_of(piece); i < end; ++i) work(parts[static_cast<size_t>(i)], buffers);
    }
  });
}

}  // namespace trainyard::worker

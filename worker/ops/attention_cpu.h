// Attention on the CPU by blocks of 64 queries (Dao et al. 2022, arXiv:2205.14135), its products by
// oneDNN's block kernels (AMX where the machine has it). What it computes: attention.h.
// Shape letters as there.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/ops/cpu_kernels.h"

namespace trainyard::worker {

// Where the packed queries, keys and values of T tokens lie, and what they are.
struct AttentionLayout {
  std::span<const int32_t> cu_seqlens;  // [S + 1]
  int64_t heads, kv_heads, width;       // width is even
  bool causal;
  float scale = 1;     // of scores
  float softcap = 0;   // c: a scaled score s becomes c tanh(s / c); 0: none
  int64_t window = 0;  // as in AttentionShape

  int64_t tokens() const { return cu_seqlens.back(); }
  int64_t packed_width() const { return (heads + 2 * kv_heads) * width; }
};

template <class Real>
struct AttentionForwardArgs {
  AttentionLayout layout;
  const Real* qkv_TE;
  Real* out_TO;
  float* logsumexp_QT;  // of the scaled and capped scores
  std::span<std::byte> scratch;
};
template <class Real>
struct AttentionBackwardArgs {
  AttentionLayout layout;
  const Real* dout_TO;
  const Real* qkv_TE;
  const Real* out_TO;
  const float* logsumexp_QT;
  Real* dqkv_TE;
  std::span<std::byte> scratch;
};

// Bytes of scratch each needs with this many threads.
template <class Real>
int64_t AttentionForwardScratchBytes(const AttentionLayout& layout, int threads);
template <class Real>
int64_t AttentionBackwardScratchBytes(const AttentionLayout& layout, int threads);

template <class Real>
void AttentionForwardCpu(const AttentionForwardArgs<Real>& args);
template <class Real>
void AttentionBackwardCpu(const AttentionBackwardArgs<Real>& args);

// A single new token, whose own key and value are in the cache already.
template <class Real>
struct AttentionDecodeArgs {
  const Real* query;  // [Q H]
  const Real* keys_PKH;
  const Real* values_PKH;
  int64_t first, seen;  // it sees the places first .. seen - 1
  int64_t heads, kv_heads, width;
  float scale, softcap;
  Real* out;  // [Q H]
};
// All of `tokens` have the same heads.
template <class Real>
void AttentionDecodeCpu(std::span<const AttentionDecodeArgs<Real>> tokens);

}  // namespace trainyard::worker

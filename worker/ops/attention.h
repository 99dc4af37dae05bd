// Causal self-attention over packed items (Vaswani et al. 2017, arXiv:1706.03762), with fewer key
// and value heads than query heads if asked (Ainslie et al. 2023, arXiv:2305.13245).
// Shape letters: T tokens, Q query heads, K key and value heads, H head width, S items,
// E = (Q + 2 K) H, the packed queries, keys and values of a token.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/ops/tensor.h"

namespace trainyard::worker {

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t width = 0;
  bool causal = true;  // a token sees its item up to and including itself; else all of its item

  int64_t packed_width() const { return (heads + 2 * kv_heads) * width; }
};

// What backward needs beside the input.
struct AttentionSaved {
  Tensor out_TO;                  // [T, Q H]
  std::vector<Tensor> logsumexp;  // a kernel's: one [Q, T]; a composition's: one per run
  std::vector<Tensor> of_flash;   // what ATen's flash attention wants to see again, on a GPU
};

// `cu_seqlens`: [S + 1], the first token of each item, then T. A token sees its own item alone.
// Scores are scaled by 1 / sqrt(H). Never holds a T x T matrix, save on a GPU in float32 (see
// attention_gpu.h).
Tensor AttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                        const AttentionShape& shape, AttentionSaved& saved);
Tensor AttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                         const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                         const AttentionSaved& saved);

// The keys and values of one layer for a prompt that is being continued.
struct KvLayer {
  Tensor keys_PKH;  // [positions, K, H], the first `length` rows filled
  Tensor values_PKH;
};

// Attention of T new tokens at places length .. length + T - 1 of one item whose earlier keys and
// values are cached; appends theirs. Holds a T x (length + T) matrix per head: call it with few
// tokens at a time.
Tensor AttentionDecode(const Tensor& qkv_TE, int64_t length, const AttentionShape& shape,
                       const KvLayer& cache);

}  // namespace trainyard::worker

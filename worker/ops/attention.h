// Self-attention over packed items (Vaswani et al. 2017, arXiv:1706.03762), with fewer key
// and value heads than query heads if asked (Ainslie et al. 2023, arXiv:2305.13245).
// Shape letters: T tokens, Q query heads, K key and value heads, H head width, S items,
// E = (Q + 2 K) H, the packed queries, keys and values of a token.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "worker/ops/tensor.h"

namespace trainyard::worker {

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t width = 0;
  bool causal = true;  // a token sees its item up to and including itself; else all of its item
  // Of these the last so many, itself included; when not causal also the next so many; 0: all.
  int64_t window = 0;
  double scale = 0;    // of scores; 0: 1 / sqrt(H)
  double softcap = 0;  // c: a scaled score s becomes c tanh(s / c) (Gemma 2); 0: none

  int64_t packed_width() const { return (heads + 2 * kv_heads) * width; }
  double score_scale() const { return scale == 0 ? std::pow(width, -0.5) : scale; }
};

// What backward needs beside the input.
struct AttentionSaved {
  Tensor out_TO;                  // [T, Q H]
  std::vector<Tensor> logsumexp;  // a kernel's: one [Q, T]; a composition's: one per run
  std::vector<Tensor> of_flash;   // what ATen's flash attention wants to see again, on a GPU
};

// `cu_seqlens`: [S + 1], the first token of each item, then T. A token sees its own item alone.
// Never holds a T x T matrix, save on a GPU in float32 (see
// attention_gpu.h) and where kernels are off for what ATen does not have: softcap, window.
Tensor AttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                        const AttentionShape& shape, AttentionSaved& saved);
Tensor AttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                         const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                         const AttentionSaved& saved);

// The keys and values of one layer for an item that is being continued.
struct KvLayer {
  Tensor keys_PKH;  // [positions, K, H], the first `length` rows filled
  Tensor values_PKH;
};
struct CachedItem {
  int64_t added = 0;   // tokens, at places length .. length + added - 1
  int64_t length = 0;  // cached before them
  const KvLayer* cache = nullptr;
};

// Attention of new tokens, those of each item after the other's, all items causal; their keys and
// values are appended to the caches. An item's first tokens go through AttentionForward; of one
// that goes on, an added x (length + added) matrix per head is held: continue it by few at a time.
Tensor AttentionDecode(const Tensor& qkv_TE, const std::vector<CachedItem>& items,
                       const AttentionShape& shape);

}  // namespace trainyard::worker

// Attention where the CPU's kernels do not reach, with the contract of attention.h. In bfloat16 on
// a GPU by ATen's flash attention (Dao 2023, arXiv:2307.08691), its backward in the order that
// gives the same bits in every run; else by the formula itself, a few items at a time, on any
// device.
#pragma once

#include "worker/ops/attention.h"

namespace trainyard::worker {

// Whether flash attention takes it: bfloat16 on a GPU, heads of a multiple of 8 up to 256 wide.
bool FlashTakes(const Tensor& qkv_TE, const AttentionShape& shape);

Tensor FlashAttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                             const AttentionShape& shape, AttentionSaved& saved);
Tensor FlashAttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                              const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                              const AttentionSaved& saved);

// Holds the scores of some items at once: 256 MiB of float32, or one item's where that is more.
Tensor FormulaAttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                               const AttentionShape& shape, AttentionSaved& saved);
Tensor FormulaAttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                                const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                                const AttentionSaved& saved);

}  // namespace trainyard::worker

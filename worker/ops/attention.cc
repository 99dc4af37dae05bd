#include "worker/ops/attention.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "worker/ops/attention_cpu.h"
#include "worker/ops/attention_gpu.h"
#include "worker/ops/attention_runs.h"
#include "worker/ops/dispatch.h"
#include "worker/ops/products.h"

namespace trainyard::worker {
namespace {

// The kernels multiply by pairs of a head's numbers; where the machine has no bfloat16 products
// they work in float32.
bool ByKernel(const Tensor& qkv_TE, const AttentionShape& shape) {
  return OnKernels(qkv_TE) && shape.width % 2 == 0;
}
// Whether ATen's CPU attention computes it.
bool AtenTakes(const Tensor& qkv_TE, const AttentionShape& shape) {
  return qkv_TE.is_cpu() && shape.softcap == 0 && shape.window == 0;
}
bool InFloat32(const Tensor& qkv_TE) {
  return qkv_TE.scalar_type() == at::kBFloat16 && !HasBfloat16Products();
}

AttentionLayout LayoutOf(const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape) {
  return {.cu_seqlens = cu_seqlens,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .width = shape.width,
          .causal = shape.causal,
          .scale = static_cast<float>(shape.score_scale()),
          .softcap = static_cast<float>(shape.softcap),
          .window = shape.window};
}

std::span<std::byte> BytesOf(const Tensor& scratch) {
  return {static_cast<std::byte*>(scratch.mutable_data_ptr()),
          static_cast<size_t>(scratch.numel())};
}
Tensor ScratchOf(int64_t bytes) { return at::empty({bytes}, at::kByte); }

Tensor ForwardByKernel(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                       const AttentionShape& shape, AttentionSaved& saved) {
  const AttentionLayout layout = LayoutOf(cu_seqlens, shape);
  const int64_t tokens = qkv_TE.size(0);
  saved.out_TO = at::empty({tokens, shape.heads * shape.width}, qkv_TE.options());
  saved.logsumexp = {at::empty({shape.heads, tokens}, at::kFloat)};
  WithReal(qkv_TE, [&]<class Real>(RealTag<Real>) {
    const Tensor scratch =
        ScratchOf(AttentionForwardScratchBytes<Real>(layout, at::get_num_threads()));
    AttentionForwardCpu(AttentionForwardArgs<Real>{.layout = layout,
                                                   .qkv_TE = In<Real>(qkv_TE),
                                                   .out_TO = Out<Real>(saved.out_TO),
                                                   .logsumexp_QT = Out<float>(saved.logsumexp[0]),
                                                   .scratch = BytesOf(scratch)});
  });
  return saved.out_TO;
}

Tensor BackwardByKernel(const Tensor& dout_TO, const Tensor& qkv_TE,
                        const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                        const AttentionSaved& saved) {
  const AttentionLayout layout = LayoutOf(cu_seqlens, shape);
  Tensor dqkv_TE = at::empty_like(qkv_TE);
  WithReal(qkv_TE, [&]<class Real>(RealTag<Real>) {
    const Tensor scratch =
        ScratchOf(AttentionBackwardScratchBytes<Real>(layout, at::get_num_threads()));
    AttentionBackwardCpu(AttentionBackwardArgs<Real>{.layout = layout,
                                                     .dout_TO = In<Real>(dout_TO),
                                                     .qkv_TE = In<Real>(qkv_TE),
                                                     .out_TO = In<Real>(saved.out_TO),
                                                     .logsumexp_QT = In<float>(saved.logsumexp[0]),
                                                     .dqkv_TE = Out<Real>(dqkv_TE),
                                                     .scratch = BytesOf(scratch)});
  });
  return dqkv_TE;
}

}  // namespace

Tensor AttentionForward(const Tensor& qkv_TE, const std::vector<int32_t>& cu_seqlens,
                        const AttentionShape& shape, AttentionSaved& saved) {
  if (ByKernel(qkv_TE, shape)) {
    if (!InFloat32(qkv_TE)) return ForwardByKernel(qkv_TE, cu_seqlens, shape, saved);
    saved.out_TO = ForwardByKernel(Widen(qkv_TE), cu_seqlens, shape, saved).to(at::kBFloat16);
    return saved.out_TO;
  }
  if (FlashTakes(qkv_TE, shape)) return FlashAttentionForward(qkv_TE, cu_seqlens, shape, saved);
  if (!AtenTakes(qkv_TE, shape)) return FormulaAttentionForward(qkv_TE, cu_seqlens, shape, saved);
  const Tensor wide_TE = Widen(qkv_TE);
  Tensor out_TO = at::empty({qkv_TE.size(0), shape.heads * shape.width}, wide_TE.options());
  saved.logsumexp.clear();
  for (const Run& run : RunsOf(cu_seqlens)) {
    const Packed in = Split(wide_TE, run, shape);
    const auto [run_out_SQTH, logsumexp_SQT] = at::_scaled_dot_product_flash_attention_for_cpu(
        in.query_SQTH, Repeat(in.key_SKTH, shape), Repeat(in.value_SKTH, shape),
        /*dropout_p=*/0.0, shape.causal, /*attn_mask=*/{}, shape.score_scale());
    HeadsOf(out_TO, run, 0, shape.heads, shape.width).copy_(run_out_SQTH);
    saved.logsumexp.push_back(logsumexp_SQT);
  }
  saved.out_TO = out_TO.to(qkv_TE.scalar_type());
  return saved.out_TO;
}

Tensor AttentionBackward(const Tensor& dout_TO, const Tensor& qkv_TE,
                         const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                         const AttentionSaved& saved) {
  if (ByKernel(qkv_TE, shape)) {
    if (!InFloat32(qkv_TE)) return BackwardByKernel(dout_TO, qkv_TE, cu_seqlens, shape, saved);
    const AttentionSaved wide{
        .out_TO = Widen(saved.out_TO), .logsumexp = saved.logsumexp, .of_flash = {}};
    return BackwardByKernel(Widen(dout_TO), Widen(qkv_TE), cu_seqlens, shape, wide)
        .to(at::kBFloat16);
  }
  if (FlashTakes(qkv_TE, shape)) {
    return FlashAttentionBackward(dout_TO, qkv_TE, cu_seqlens, shape, saved);
  }
  if (!AtenTakes(qkv_TE, shape)) {
    return FormulaAttentionBackward(dout_TO, qkv_TE, cu_seqlens, shape, saved);
  }
  const Tensor wide_TE = Widen(qkv_TE);
  const Tensor wide_dout_TO = Widen(dout_TO);
  const Tensor wide_out_TO = Widen(saved.out_TO);
  Tensor dqkv_TE = at::empty_like(wide_TE);
  const auto runs = RunsOf(cu_seqlens);
  for (size_t i = 0; i < runs.size(); ++i) {
    const Packed in = Split(wide_TE, runs[i], shape);
    const auto [dquery_SQTH, dkey_SQTH, dvalue_SQTH] =
        at::_scaled_dot_product_flash_attention_for_cpu_backward(
            HeadsOf(wide_dout_TO, runs[i], 0, shape.heads, shape.width), in.query_SQTH,
            Repeat(in.key_SKTH, shape), Repeat(in.value_SKTH, shape),
            HeadsOf(wide_out_TO, runs[i], 0, shape.heads, shape.width), saved.logsumexp[i],
            /*dropout_p=*/0.0, shape.causal, /*attn_mask=*/{}, shape.score_scale());
    const Packed out = Split(dqkv_TE, runs[i], shape);
    out.query_SQTH.copy_(dquery_SQTH);
    out.key_SKTH.copy_(Gather(dkey_SQTH, shape));
    out.value_SKTH.copy_(Gather(dvalue_SQTH, shape));
  }
  return dqkv_TE.to(qkv_TE.scalar_type());
}

}  // namespace trainyard::worker

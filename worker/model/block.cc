#include "worker/model/block.h"

#include <utility>

#include "worker/ops/activation.h"
#include "worker/ops/linear.h"

namespace trainyard::worker {

Tensor Norm::Forward(const Tensor& x_TD, NormSaved& saved) const {
  if (kind == NormKind::kRms) {
    return RmsNormForward(x_TD, weight_D.value, {.epsilon = epsilon, .offset = offset}, saved);
  }
  return LayerNormForward(x_TD, weight_D.value, bias_D.value, epsilon, saved);
}

Tensor Norm::Backward(const Tensor& dy_TD, const Tensor& x_TD, const NormSaved& saved,
                      const Tensor& dresidual_TD) const {
  if (kind == NormKind::kRms) {
    return RmsNormBackward(dy_TD, x_TD, weight_D.value, {.epsilon = epsilon, .offset = offset},
                           saved, weight_D.gradient, dresidual_TD);
  }
  return LayerNormBackward(dy_TD, x_TD, weight_D.value, saved, weight_D.gradient, bias_D.gradient,
                           dresidual_TD);
}

Tensor Linear::Forward(const Tensor& x_TI, const Tensor& residual_TO) const {
  return LinearForward(x_TI, weight_OI.value, bias_O.value, residual_TO);
}

Tensor Linear::Backward(const Tensor& dy_TO, const Tensor& x_TI) const {
  return LinearBackward(dy_TO, x_TI, weight_OI.value, weight_OI.gradient, bias_O.gradient);
}

// ------------------------------------------------------------------------------ norms of a half

Tensor HalfNorms::Enter(const Tensor& x_TD, HalfSaved& saved) const {
  saved.in_TD = x_TD;
  if (place == NormPlace::kAfter) return x_TD;
  saved.normed_TD = before.Forward(x_TD, saved.before);
  return saved.normed_TD;
}

Tensor HalfNorms::Leave(const Linear& last, const Tensor& in_TI, const Tensor& x_TD,
                        HalfSaved& saved) const {
  switch (place) {
    case NormPlace::kBefore:
      return last.Forward(in_TI, x_TD);
    case NormPlace::kAround:
      saved.result_TD = last.Forward(in_TI);
      return after.Forward(saved.result_TD, saved.after).add_(x_TD);
    case NormPlace::kAfter:
      break;
  }
  saved.result_TD = last.Forward(in_TI, x_TD);
  return after.Forward(saved.result_TD, saved.after);
}

HalfNorms::Parts HalfNorms::LeaveBackward(const Tensor& dy_TD, const HalfSaved& saved) const {
  if (place == NormPlace::kBefore) return {dy_TD, dy_TD};
  const Tensor dresult_TD = after.Backward(dy_TD, saved.result_TD, saved.after);
  return {dresult_TD, place == NormPlace::kAround ? dy_TD : dresult_TD};
}

Tensor HalfNorms::EnterBackward(const Tensor& dnormed_TD, const Tensor& dresidual_TD,
                                const HalfSaved& saved) const {
  if (place == NormPlace::kAfter) return dnormed_TD + dresidual_TD;
  return before.Backward(dnormed_TD, saved.in_TD, saved.before, dresidual_TD);
}

Tensor HalfNorms::Seen(const HalfSaved& saved) const {
  if (place == NormPlace::kAfter) return saved.in_TD;
  if (saved.normed_TD.defined()) return saved.normed_TD;
  NormSaved same;
  return before.Forward(saved.in_TD, same);
}

// ------------------------------------------------------------------------------------ the block

Tensor Block::Heads(const Tensor& qkv_TE, int64_t first, int64_t count) const {
  return qkv_TE.narrow(1, first * shape.width, count * shape.width)
      .view({qkv_TE.size(0), count, shape.width});
}

Tensor Block::QueriesAndKeys(const Tensor& qkv_TE) const {
  return Heads(qkv_TE, 0, shape.heads + shape.kv_heads);
}

void Block::NormQueriesAndKeys(const Tensor& qkv_TE, BlockSaved& saved) const {
  const auto norm = [&](const Norm& norm_H, const Tensor& x_TNH, Tensor& kept_TNH,
                        NormSaved& statistics) {
    kept_TNH = x_TNH.clone(at::MemoryFormat::Contiguous);
    const Tensor rows = kept_TNH.view({-1, shape.width});
    x_TNH.copy_(norm_H.Forward(rows, statistics).view_as(x_TNH));
  };
  norm(query_norm_H, Heads(qkv_TE, 0, shape.heads), saved.query_TQH, saved.query_norm);
  norm(key_norm_H, Heads(qkv_TE, shape.heads, shape.kv_heads), saved.key_TKH, saved.key_norm);
}

void Block::NormQueriesAndKeysBackward(const Tensor& dqkv_TE, const BlockSaved& saved) const {
  const auto norm = [&](const Norm& norm_H, const Tensor& dx_TNH, const Tensor& kept_TNH,
                        const NormSaved& statistics) {
    const Tensor drows = dx_TNH.clone(at::MemoryFormat::Contiguous).view({-1, shape.width});
    dx_TNH.copy_(
        norm_H.Backward(drows, kept_TNH.view({-1, shape.width}), statistics).view_as(dx_TNH));
  };
  norm(query_norm_H, Heads(dqkv_TE, 0, shape.heads), saved.query_TQH, saved.query_norm);
  norm(key_norm_H, Heads(dqkv_TE, shape.heads, shape.kv_heads), saved.key_TKH, saved.key_norm);
}

Tensor Block::Activate(const Tensor& in_TM) const {
  switch (mlp) {
    case MlpKind::kSwiGlu:
      return SwiGluForward(in_TM);
    case MlpKind::kGeGluTanh:
      return GeGluTanhForward(in_TM);
    case MlpKind::kGeluTanh:
      return GeluTanhForward(in_TM);
    case MlpKind::kGelu:
      break;
  }
  return GeluForward(in_TM);
}

Tensor Block::ActivateBackward(const Tensor& dout_TM, const Tensor& in_TM) const {
  switch (mlp) {
    case MlpKind::kSwiGlu:
      return SwiGluBackward(dout_TM, in_TM);
    case MlpKind::kGeGluTanh:
      return GeGluTanhBackward(dout_TM, in_TM);
    case MlpKind::kGeluTanh:
      return GeluTanhBackward(dout_TM, in_TM);
    case MlpKind::kGelu:
      break;
  }
  return GeluBackward(dout_TM, in_TM);
}

void Block::RunInner(const Tensor& x_TD, const Places& places, const Attend& attend,
                     BlockSaved& saved) const {
  saved.qkv_TE = qkv.Forward(attention_norms.Enter(x_TD, saved.attention_half));
  if (query_key_norm) NormQueriesAndKeys(saved.qkv_TE, saved);
  if (position == PositionKind::kRope) RopeForward(QueriesAndKeys(saved.qkv_TE), RopeOf(places));
  const Tensor h_TD =
      attention_norms.Leave(attention_out, attend(saved.qkv_TE), x_TD, saved.attention_half);

  saved.mlp_in_TM = mlp_in.Forward(mlp_norms.Enter(h_TD, saved.mlp_half));
  saved.mlp_activated_TM = Activate(saved.mlp_in_TM);
}

Tensor Block::Run(const Tensor& x_TD, const Places& places, const Attend& attend,
                  BlockSaved& saved) const {
  RunInner(x_TD, places, attend, saved);
  return mlp_norms.Leave(mlp_out, saved.mlp_activated_TM, saved.mlp_half.in_TD, saved.mlp_half);
}

Block::Attend Block::AttendTo(const Places& places, BlockSaved& saved) const {
  return [&](const Tensor& qkv_TE) {
    return AttentionForward(qkv_TE, places.cu_seqlens, shape, saved.attention);
  };
}

Tensor Block::Forward(const Tensor& x_TD, const Places& places, BlockSaved& saved) const {
  Tensor y_TD = Run(x_TD, places, AttendTo(places, saved), saved);
  Forget(saved);
  return y_TD;
}

void Block::Forget(BlockSaved& saved) const {
  if (recompute == plan::Recompute::kActivations) {
    saved.attention_half.normed_TD = saved.mlp_half.normed_TD = saved.mlp_activated_TM = Tensor();
  } else if (recompute == plan::Recompute::kBlock) {
    BlockSaved input;
    input.attention_half.in_TD = saved.attention_half.in_TD;
    saved = std::move(input);
  }
}

Tensor Block::Decode(const Tensor& x_TD, const Places& places, const Attend& attend) const {
  BlockSaved unused;
  return Run(x_TD, places, attend, unused);
}

// The same list, read from the end. What a line has no more use for goes with its line:
// common/plan/step.cc counts on it.
Tensor Block::Backward(const Tensor& dy_TD, const Places& places, const BlockSaved& saved) const {
  if (recompute == plan::Recompute::kBlock) {
    BlockSaved again;
    const Tensor& x_TD = saved.attention_half.in_TD;
    if (mlp_norms.place == NormPlace::kBefore) {
      RunInner(x_TD, places, AttendTo(places, again), again);
    } else {
      Run(x_TD, places, AttendTo(places, again), again);
    }
    return AttentionHalfBackward(MlpBackward(dy_TD, again), places, again);
  }
  return AttentionHalfBackward(MlpBackward(dy_TD, saved), places, saved);
}

Tensor Block::MlpBackward(const Tensor& dy_TD, const BlockSaved& saved) const {
  const HalfNorms::Parts parts = mlp_norms.LeaveBackward(dy_TD, saved.mlp_half);
  const bool kept = saved.mlp_activated_TM.defined();
  const Tensor dmlp_in_TM = ActivateBackward(
      mlp_out.Backward(parts.dresult_TD, kept ? saved.mlp_activated_TM : Activate(saved.mlp_in_TM)),
      saved.mlp_in_TM);
  const Tensor dnormed_TD = mlp_in.Backward(dmlp_in_TM, mlp_norms.Seen(saved.mlp_half));
  return mlp_norms.EnterBackward(dnormed_TD, parts.dresidual_TD, saved.mlp_half);
}

Tensor Block::AttentionHalfBackward(const Tensor& dh_TD, const Places& places,
                                    const BlockSaved& saved) const {
  const HalfNorms::Parts parts = attention_norms.LeaveBackward(dh_TD, saved.attention_half);
  const Tensor dqkv_TE =
      AttentionBackward(attention_out.Backward(parts.dresult_TD, saved.attention.out_TO),
                        saved.qkv_TE, places.cu_seqlens, shape, saved.attention);
  if (position == PositionKind::kRope) RopeBackward(QueriesAndKeys(dqkv_TE), RopeOf(places));
  if (query_key_norm) NormQueriesAndKeysBackward(dqkv_TE, saved);
  const Tensor dnormed_TD = qkv.Backward(dqkv_TE, attention_norms.Seen(saved.attention_half));
  return attention_norms.EnterBackward(dnormed_TD, parts.dresidual_TD, saved.attention_half);
}

}  // namespace trainyard::worker

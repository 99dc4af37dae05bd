#include "worker/model/block.h"

#include <utility>

#include "worker/ops/activation.h"
#include "worker/ops/linear.h"

namespace trainyard::worker {
namespace {

// The norm's output, as it was kept or made again.
Tensor Normed(const Norm& norm, const Tensor& kept_TD, const Tensor& x_TD) {
  if (kept_TD.defined()) return kept_TD;
  NormSaved same;
  return norm.Forward(x_TD, same);
}

}  // namespace

Tensor Norm::Forward(const Tensor& x_TD, NormSaved& saved) const {
  if (kind == NormKind::kRms) return RmsNormForward(x_TD, weight_D.value, epsilon, saved);
  return LayerNormForward(x_TD, weight_D.value, bias_D.value, epsilon, saved);
}

Tensor Norm::Backward(const Tensor& dy_TD, const Tensor& x_TD, const NormSaved& saved,
                      const Tensor& dresidual_TD) const {
  if (kind == NormKind::kRms) {
    return RmsNormBackward(dy_TD, x_TD, weight_D.value, saved, weight_D.gradient, dresidual_TD);
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

Tensor Block::QueriesAndKeys(const Tensor& qkv_TE) const {
  const int64_t turned = shape.heads + shape.kv_heads;
  return qkv_TE.narrow(1, 0, turned * shape.width).view({qkv_TE.size(0), turned, shape.width});
}

Tensor Block::Activate(const Tensor& in_TM) const {
  return mlp == MlpKind::kSwiGlu ? SwiGluForward(in_TM) : GeluTanhForward(in_TM);
}
Tensor Block::ActivateBackward(const Tensor& dout_TM, const Tensor& in_TM) const {
  return mlp == MlpKind::kSwiGlu ? SwiGluBackward(dout_TM, in_TM)
                                 : GeluTanhBackward(dout_TM, in_TM);
}

void Block::RunInner(const Tensor& x_TD, const Places& places, const Attend& attend,
                     BlockSaved& saved) const {
  saved.x_TD = x_TD;
  saved.attention_normed_TD = attention_norm.Forward(x_TD, saved.attention_norm);
  saved.qkv_TE = qkv.Forward(saved.attention_normed_TD);
  if (position == PositionKind::kRope) RopeForward(QueriesAndKeys(saved.qkv_TE), places.rope);
  saved.h_TD = attention_out.Forward(attend(saved.qkv_TE), x_TD);

  saved.mlp_normed_TD = mlp_norm.Forward(saved.h_TD, saved.mlp_norm);
  saved.mlp_in_TM = mlp_in.Forward(saved.mlp_normed_TD);
  saved.mlp_activated_TM = Activate(saved.mlp_in_TM);
}

Tensor Block::Run(const Tensor& x_TD, const Places& places, const Attend& attend,
                  BlockSaved& saved) const {
  RunInner(x_TD, places, attend, saved);
  return mlp_out.Forward(saved.mlp_activated_TM, saved.h_TD);
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
    saved.attention_normed_TD = saved.mlp_normed_TD = saved.mlp_activated_TM = Tensor();
  } else if (recompute == plan::Recompute::kBlock) {
    BlockSaved input;
    input.x_TD = saved.x_TD;
    saved = std::move(input);
  }
}

Tensor Block::Decode(const Tensor& x_TD, const Places& places, int64_t length,
                     const KvLayer& cache) const {
  const auto attend = [&](const Tensor& qkv_TE) {
    return AttentionDecode(qkv_TE, length, shape, cache);
  };
  BlockSaved unused;
  return Run(x_TD, places, attend, unused);
}

// The same list, read from the end. What a line has no more use for goes with its line:
// common/plan/step.cc counts on it.
Tensor Block::Backward(const Tensor& dy_TD, const Places& places, const BlockSaved& saved) const {
  if (recompute == plan::Recompute::kBlock) {
    BlockSaved again;
    RunInner(saved.x_TD, places, AttendTo(places, again), again);
    return AttentionHalfBackward(MlpBackward(dy_TD, again), places, again);
  }
  return AttentionHalfBackward(MlpBackward(dy_TD, saved), places, saved);
}

Tensor Block::MlpBackward(const Tensor& dy_TD, const BlockSaved& saved) const {
  const bool kept = saved.mlp_activated_TM.defined();
  const Tensor dmlp_in_TM = ActivateBackward(
      mlp_out.Backward(dy_TD, kept ? saved.mlp_activated_TM : Activate(saved.mlp_in_TM)),
      saved.mlp_in_TM);
  const Tensor dnormed_TD =
      mlp_in.Backward(dmlp_in_TM, Normed(mlp_norm, saved.mlp_normed_TD, saved.h_TD));
  return mlp_norm.Backward(dnormed_TD, saved.h_TD, saved.mlp_norm, dy_TD);
}

Tensor Block::AttentionHalfBackward(const Tensor& dh_TD, const Places& places,
                                    const BlockSaved& saved) const {
  const Tensor dqkv_TE = AttentionBackward(attention_out.Backward(dh_TD, saved.attention.out_TO),
                                           saved.qkv_TE, places.cu_seqlens, shape, saved.attention);
  if (position == PositionKind::kRope) RopeBackward(QueriesAndKeys(dqkv_TE), places.rope);
  const Tensor dnormed_TD =
      qkv.Backward(dqkv_TE, Normed(attention_norm, saved.attention_normed_TD, saved.x_TD));
  return attention_norm.Backward(dnormed_TD, saved.x_TD, saved.attention_norm, dh_TD);
}

}  // namespace trainyard::worker

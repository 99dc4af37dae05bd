#include "worker/model/block.h"

#include "worker/ops/activation.h"
#include "worker/ops/linear.h"

namespace trainyard::worker {

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

Tensor Block::Run(const Tensor& x_TD, const Places& places, const Attend& attend,
                  BlockSaved& saved) const {
  saved.x_TD = x_TD;
  saved.attention_normed_TD = attention_norm.Forward(x_TD, saved.attention_norm);
  saved.qkv_TE = qkv.Forward(saved.attention_normed_TD);
  if (position == PositionKind::kRope) RopeForward(QueriesAndKeys(saved.qkv_TE), places.rope);
  saved.h_TD = attention_out.Forward(attend(saved.qkv_TE), x_TD);

  saved.mlp_normed_TD = mlp_norm.Forward(saved.h_TD, saved.mlp_norm);
  saved.mlp_in_TM = mlp_in.Forward(saved.mlp_normed_TD);
  saved.mlp_activated_TM =
      mlp == MlpKind::kSwiGlu ? SwiGluForward(saved.mlp_in_TM) : GeluTanhForward(saved.mlp_in_TM);
  return mlp_out.Forward(saved.mlp_activated_TM, saved.h_TD);
}

Tensor Block::Forward(const Tensor& x_TD, const Places& places, BlockSaved& saved) const {
  const auto attend = [&](const Tensor& qkv_TE) {
    return AttentionForward(qkv_TE, places.cu_seqlens, shape, saved.attention);
  };
  return Run(x_TD, places, attend, saved);
}

Tensor Block::Decode(const Tensor& x_TD, const Places& places, int64_t length,
                     const KvLayer& cache) const {
  const auto attend = [&](const Tensor& qkv_TE) {
    return AttentionDecode(qkv_TE, length, shape, cache);
  };
  BlockSaved unused;
  return Run(x_TD, places, attend, unused);
}

// The same list, read from the end.
Tensor Block::Backward(const Tensor& dy_TD, const Places& places, const BlockSaved& saved) const {
  const Tensor dactivated_TM = mlp_out.Backward(dy_TD, saved.mlp_activated_TM);
  const Tensor dmlp_in_TM = mlp == MlpKind::kSwiGlu
                                ? SwiGluBackward(dactivated_TM, saved.mlp_in_TM)
                                : GeluTanhBackward(dactivated_TM, saved.mlp_in_TM);
  const Tensor dmlp_normed_TD = mlp_in.Backward(dmlp_in_TM, saved.mlp_normed_TD);
  const Tensor dh_TD = mlp_norm.Backward(dmlp_normed_TD, saved.h_TD, saved.mlp_norm, dy_TD);

  const Tensor dattention_TO = attention_out.Backward(dh_TD, saved.attention.out_TO);
  const Tensor dqkv_TE =
      AttentionBackward(dattention_TO, saved.qkv_TE, places.cu_seqlens, shape, saved.attention);
  if (position == PositionKind::kRope) RopeBackward(QueriesAndKeys(dqkv_TE), places.rope);
  const Tensor dnormed_TD = qkv.Backward(dqkv_TE, saved.attention_normed_TD);
  return attention_norm.Backward(dnormed_TD, saved.x_TD, saved.attention_norm, dh_TD);
}

}  // namespace trainyard::worker

#include "worker/model/prediction_head.h"

#include "worker/ops/activation.h"

namespace trainyard::worker {

Tensor PredictionHead::Transform(const Tensor& hidden_ND, Saved& saved) const {
  if (kind == HeadKind::kCausal) return hidden_ND;
  saved.in_ND = hidden_ND;
  saved.dense_ND = dense.Forward(hidden_ND);
  saved.activated_ND = GeluForward(saved.dense_ND);
  return norm.Forward(saved.activated_ND, saved.norm);
}

Tensor PredictionHead::TransformBackward(const Tensor& dy_ND, const Saved& saved) const {
  if (kind == HeadKind::kCausal) return dy_ND;
  const Tensor dactivated_ND = norm.Backward(dy_ND, saved.activated_ND, saved.norm);
  return dense.Backward(GeluBackward(dactivated_ND, saved.dense_ND), saved.in_ND);
}

}  // namespace trainyard::worker

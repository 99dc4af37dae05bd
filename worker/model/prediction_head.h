// What stands between the last hidden states and the logits. Shape letters: N places that predict,
// D hidden size, V vocabulary.
#pragma once

#include "common/model/family.h"
#include "worker/model/block.h"
#include "worker/ops/head.h"

namespace trainyard::worker {

struct PredictionHead {
  HeadKind kind = HeadKind::kCausal;
  Linear dense;  // kMasked: Norm(GELU(dense(hidden)))
  Norm norm;
  Parameter weight_VD;  // the token embedding's when tied; undefined: the model predicts nothing
  Parameter bias_V;
  double softcap = 0;

  struct Saved {
    Tensor in_ND, dense_ND, activated_ND;
    NormSaved norm;
  };
  // What `weights` multiplies: the hidden states themselves, but for kMasked.
  Tensor Transform(const Tensor& hidden_ND, Saved& saved) const;
  Tensor TransformBackward(const Tensor& dy_ND, const Saved& saved) const;
  HeadWeights weights() const {
    return {.weight_VD = weight_VD.value,
            .bias_V = bias_V.value,
            .softcap = softcap,
            .dweight_VD = weight_VD.gradient,
            .dbias_V = bias_V.gradient};
  }
  bool predicts() const { return weight_VD.value.defined(); }
};

}  // namespace trainyard::worker

#include "worker/ops/embedding.h"

#include "worker/ops/dispatch.h"

namespace trainyard::worker {

Tensor EmbeddingForward(const Tensor& weight_VD, const Tensor& ids_T) {
  return weight_VD.index_select(0, ids_T);
}

void EmbeddingBackward(const Tensor& dy_TD, const Tensor& ids_T, const Tensor& dweight_VD) {
  if (OnKernels(dy_TD)) {
    WithReal(dy_TD, [&]<class Real>(RealTag<Real>) {
      EmbeddingBackwardCpu(EmbeddingBackwardArgs<Real>{.dy_TD = In<Real>(dy_TD),
                                                       .ids_T = In<int64_t>(ids_T),
                                                       .tokens = dy_TD.size(0),
                                                       .width = dy_TD.size(1),
                                                       .dweight_VD = Out<float>(dweight_VD)});
    });
    return;
  }
  Tensor(dweight_VD)
      .add_(at::embedding_dense_backward(Widen(dy_TD), ids_T, dweight_VD.size(0),
                                         /*padding_idx=*/-1, /*scale_grad_by_freq=*/false));
}

}  // namespace trainyard::worker

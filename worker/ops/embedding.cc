#include "worker/ops/embedding.h"

namespace trainyard::worker {

Tensor EmbeddingForward(const Tensor& weight_VD, const Tensor& ids_T) {
  return weight_VD.index_select(0, ids_T);
}

void EmbeddingBackward(const Tensor& dy_TD, const Tensor& ids_T, const Tensor& dweight_VD) {
  Tensor(dweight_VD)
      .add_(at::embedding_dense_backward(Widen(dy_TD), ids_T, dweight_VD.size(0),
                                         /*padding_idx=*/-1, /*scale_grad_by_freq=*/false));
}

}  // namespace trainyard::worker

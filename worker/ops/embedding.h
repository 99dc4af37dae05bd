// Rows of a table, chosen by id. Shape letters: T tokens, V vocabulary, D width.
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// `ids_T` is int64, every id in [0, V).
Tensor EmbeddingForward(const Tensor& weight_VD, const Tensor& ids_T);
// Adds in an order that depends on the ids alone, so the bits do not depend on the threads.
void EmbeddingBackward(const Tensor& dy_TD, const Tensor& ids_T, const Tensor& dweight_VD);

}  // namespace trainyard::worker

// The non-linear middle of an MLP. Shape letters: T tokens, M MLP width.
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// GELU by its tanh approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415; GPT-2's "gelu_new").
Tensor GeluTanhForward(const Tensor& x_TM);
Tensor GeluTanhBackward(const Tensor& dy_TM, const Tensor& x_TM);

// GELU itself, x Phi(x): BERT's. ATen's own.
Tensor GeluForward(const Tensor& x_TM);
Tensor GeluBackward(const Tensor& dy_TM, const Tensor& x_TM);

// SwiGLU (Shazeer 2020, arXiv:2002.05202): silu(gate) up, where the input is [gate | up].
Tensor SwiGluForward(const Tensor& gate_up_T2M);
Tensor SwiGluBackward(const Tensor& dy_TM, const Tensor& gate_up_T2M);
// GeGLU (the same paper), with GELU's tanh form: gelu(gate) up.
Tensor GeGluTanhForward(const Tensor& gate_up_T2M);
Tensor GeGluTanhBackward(const Tensor& dy_TM, const Tensor& gate_up_T2M);

}  // namespace trainyard::worker

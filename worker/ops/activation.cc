#include "worker/ops/activation.h"

namespace trainyard::worker {

Tensor GeluTanhForward(const Tensor& x_TM) { return at::gelu(x_TM, "tanh"); }

Tensor GeluTanhBackward(const Tensor& dy_TM, const Tensor& x_TM) {
  return at::gelu_backward(dy_TM, x_TM, "tanh");
}

Tensor SwiGluForward(const Tensor& gate_up_T2M) {
  const auto halves = gate_up_T2M.chunk(2, -1);
  return at::silu(halves[0]).mul_(halves[1]);
}

Tensor SwiGluBackward(const Tensor& dy_TM, const Tensor& gate_up_T2M) {
  const auto halves = gate_up_T2M.chunk(2, -1);
  Tensor dgate_up_T2M = at::empty_like(gate_up_T2M);
  auto gradients = dgate_up_T2M.chunk(2, -1);
  gradients[0].copy_(at::silu_backward(dy_TM * halves[1], halves[0]));
  at::mul_out(gradients[1], dy_TM, at::silu(halves[0]));
  return dgate_up_T2M;
}

}  // namespace trainyard::worker

#include "worker/ops/activation.h"

#include "worker/ops/dispatch.h"

namespace trainyard::worker {
namespace {

// `out`: [tokens, width] of the result that `kernel` fills.
template <class Kernel>
Tensor Filled(Tensor out, const Tensor& dy, const Tensor& x, int64_t width, Kernel kernel) {
  WithReal(x, [&]<class Real>(RealTag<Real>) {
    kernel(ActivationArgs<Real>{.dy = In<Real>(dy),
                                .x = In<Real>(x),
                                .tokens = x.size(0),
                                .width = width,
                                .out = Out<Real>(out)});
  });
  return out;
}

// The result of a gated pair: half as wide as `gate_up_T2M`.
template <class Kernel>
Tensor FilledRows(const Tensor& gate_up_T2M, Kernel kernel) {
  const int64_t width = gate_up_T2M.size(1) / 2;
  return Filled(at::empty({gate_up_T2M.size(0), width}, gate_up_T2M.options()), {}, gate_up_T2M,
                width, kernel);
}

Tensor Beside(const Tensor& dgate_TM, const Tensor& dup_TM) {
  return at::cat({dgate_TM, dup_TM}, -1);
}

}  // namespace

Tensor GeluTanhForward(const Tensor& x_TM) {
  if (OnKernels(x_TM)) {
    return Filled(at::empty_like(x_TM), {}, x_TM, x_TM.size(1),
                  [](const auto& args) { GeluTanhForwardCpu(args); });
  }
  return at::gelu(x_TM, "tanh");
}

Tensor GeluTanhBackward(const Tensor& dy_TM, const Tensor& x_TM) {
  if (OnKernels(x_TM) && OnKernels(dy_TM)) {
    return Filled(at::empty_like(x_TM), dy_TM, x_TM, x_TM.size(1),
                  [](const auto& args) { GeluTanhBackwardCpu(args); });
  }
  return at::gelu_backward(dy_TM, x_TM, "tanh");
}

Tensor GeluForward(const Tensor& x_TM) { return at::gelu(x_TM); }

Tensor GeluBackward(const Tensor& dy_TM, const Tensor& x_TM) {
  return at::gelu_backward(dy_TM, x_TM);
}

Tensor SwiGluForward(const Tensor& gate_up_T2M) {
  if (OnKernels(gate_up_T2M)) {
    return FilledRows(gate_up_T2M, [](const auto& args) { SwiGluForwardCpu(args); });
  }
  const auto halves = gate_up_T2M.chunk(2, -1);
  return at::silu(halves[0]).mul_(halves[1]);
}

Tensor SwiGluBackward(const Tensor& dy_TM, const Tensor& gate_up_T2M) {
  if (OnKernels(gate_up_T2M) && OnKernels(dy_TM)) {
    return Filled(at::empty_like(gate_up_T2M), dy_TM, gate_up_T2M, dy_TM.size(1),
                  [](const auto& args) { SwiGluBackwardCpu(args); });
  }
  const auto halves = gate_up_T2M.chunk(2, -1);
  return Beside(at::silu_backward(dy_TM * halves[1], halves[0]), dy_TM * at::silu(halves[0]));
}

Tensor GeGluTanhForward(const Tensor& gate_up_T2M) {
  if (OnKernels(gate_up_T2M)) {
    return FilledRows(gate_up_T2M, [](const auto& args) { GeGluTanhForwardCpu(args); });
  }
  const auto halves = gate_up_T2M.chunk(2, -1);
  return at::gelu(halves[0], "tanh").mul_(halves[1]);
}

Tensor GeGluTanhBackward(const Tensor& dy_TM, const Tensor& gate_up_T2M) {
  if (OnKernels(gate_up_T2M) && OnKernels(dy_TM)) {
    return Filled(at::empty_like(gate_up_T2M), dy_TM, gate_up_T2M, dy_TM.size(1),
                  [](const auto& args) { GeGluTanhBackwardCpu(args); });
  }
  const auto halves = gate_up_T2M.chunk(2, -1);
  return Beside(at::gelu_backward(dy_TM * halves[1], halves[0], "tanh"),
                dy_TM * at::gelu(halves[0], "tanh"));
}

}  // namespace trainyard::worker

// What every operation shares. An operation is a pair: forward writes its output and what backward
// needs; backward takes those and the output's gradient, returns the input's gradient and ADDS into
// the gradients of its parameters. No autograd: callers hold a WithoutAutograd.
//
// Activations and weights are float64 (tests), float32 or bfloat16. Gradients of parameters, saved
// statistics and everything inside a norm or a softmax are in the wide type: float32, or float64
// for float64.
#pragma once

#include <ATen/ATen.h>

namespace trainyard::worker {

using at::Tensor;

// While one lives, this thread's ATen calls skip autograd's bookkeeping.
using WithoutAutograd = at::AutoDispatchBelowADInplaceOrView;

inline at::ScalarType WideType(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}
// A tensor of the host on the device, without waiting for what the device was asked before.
inline Tensor ToDevice(const Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(host.options().device(device), /*non_blocking=*/true);
}
inline Tensor Widen(const Tensor& x) { return x.to(WideType(x.scalar_type())); }

}  // namespace trainyard::worker

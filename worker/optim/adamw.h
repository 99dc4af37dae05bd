// AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), in the
// form of torch.optim.AdamW:
//   p -= lr wd p;   m += (1 - b1) (g - m);   v = b2 v + (1 - b2) g g
//   p -= lr / (1 - b1^t)  m / (sqrt(v / (1 - b2^t)) + epsilon)
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <span>

namespace trainyard::worker {

struct AdamW {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double gradient_scale = 1;  // clipping: every gradient is multiplied by it first
  int64_t update = 1;         // t above: the number of this update, from 1
};

// One pass over a range of parameters, which share `adamw`: updates master and moments in place,
// zeroes the gradient, and writes the masters, rounded, to `weight` unless that is empty. The spans
// are equally long.
void AdamWUpdate(const AdamW& adamw, std::span<float> master, std::span<float> gradient,
                 std::span<float> moment1, std::span<float> moment2,
                 std::span<c10::BFloat16> weight = {});

}  // namespace trainyard::worker

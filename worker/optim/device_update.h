// The optimisers as operations on tensors, for devices whose memory the sweeps of adamw.h,
// gradient_norm.h and muon.h cannot reach. Same formulas; the tests compare the two.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/ops/tensor.h"
#include "worker/optim/adamw.h"
#include "worker/optim/muon.h"

namespace trainyard::worker {

// Tensors that share an AdamW, all float32, lists equally long and of equal shapes.
struct AdamWTensors {
  std::vector<Tensor> master, gradient, moment1, moment2;
};
// One kernel over all of them (ATen's fused AdamW). Leaves the gradients undefined: zero them.
void AdamWUpdate(const AdamW& adamw, const AdamWTensors& tensors);

// The Euclidean length of each tensor, with one wait for the device. Summed in the device's order:
// the same bits in every run on the same kind of device.
std::vector<double> Lengths(std::span<const Tensor> tensors);

// A weight [rows, columns] with its state; views of wider matrices are welcome.
struct MuonTensors {
  Tensor master, gradient, momentum;
};
// One update of each matrix: masters and momentum in place. Leaves the gradients as they are.
void MuonUpdate(const Muon& muon, std::span<const MuonTensors> matrices);

}  // namespace trainyard::worker

#include "worker/optim/device_update.h"

#include <algorithm>

namespace trainyard::worker {

void AdamWUpdate(const AdamW& adamw, const AdamWTensors& tensors) {
  if (tensors.master.empty()) return;
  const auto options = tensors.master.front().options();
  const Tensor update = at::full({}, static_cast<double>(adamw.update), options);
  const std::vector<Tensor> updates(tensors.master.size(), update);
  // ATen divides gradients by this, as loss scaling does.
  std::optional<Tensor> divisor;
  if (adamw.gradient_scale != 1) divisor = at::full({}, 1.0 / adamw.gradient_scale, options);
  at::_fused_adamw_(tensors.master, tensors.gradient, tensors.moment1, tensors.moment2,
                    /*max_exp_avg_sqs=*/{}, updates, adamw.learning_rate, adamw.beta1, adamw.beta2,
                    adamw.weight_decay, adamw.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                    divisor);
}

std::vector<double> Lengths(std::span<const Tensor> tensors) {
  if (tensors.empty()) return {};
  const std::vector<Tensor> of_tensor =
      at::_foreach_norm(at::TensorList(tensors.data(), tensors.size()), 2);
  const Tensor lengths = at::stack(of_tensor).to(at::kCPU, at::kDouble);
  const auto* first = lengths.const_data_ptr<double>();
  return {first, first + lengths.numel()};
}

void MuonUpdate(const Muon& muon, std::span<const MuonTensors> matrices) {
  for (const MuonTensors& w : matrices) {
    const Tensor g_RC = w.gradient * muon.gradient_scale;
    Tensor(w.momentum).lerp_(g_RC, 1.0 - muon.momentum);
    const Tensor ahead_RC = g_RC + muon.momentum * (w.momentum - g_RC);
    const Tensor length = at::linalg_vector_norm(ahead_RC).clamp_min(kMuonLengthMin);
    const Tensor direction_RC = Orthogonalise(ahead_RC / length, muon.bfloat16);
    Tensor(w.master)
        .mul_(1.0 - muon.learning_rate * muon.weight_decay)
        .sub_(direction_RC, MuonStepSize(muon, g_RC.size(0), g_RC.size(1)));
  }
}

}  // namespace trainyard::worker

// A model's parameters with their gradients and the optimiser's state: flat tensors on one device,
// in the order of the layout, and the optimisers' sweeps over them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/model/config.h"
#include "common/model/layout.h"
#include "worker/checkpoint/parameter_view.h"
#include "worker/engine/engine.h"
#include "worker/ops/tensor.h"
#include "worker/optim/adamw.h"

namespace trainyard::worker {

class FlatParameters {
 public:
  // Fresh weights; gradients and moments are zero. Where it does not learn: weights of any value.
  FlatParameters(const ModelConfig& config, const EngineOptions& options);

  const std::vector<ParameterSpec>& layout() const { return layout_; }
  // What the model multiplies by: bfloat16 copies, or in float32 the masters themselves.
  const Tensor& weights() const { return weights_; }
  const Tensor& gradients() const { return gradients_; }
  // Whether there are gradients and moments (EngineOptions::learns).
  bool learns() const { return moment1_.defined(); }
  // All gradients, in the device's memory; empty where it does not learn.
  std::span<float> gradient_span() const;

  // The gradient's length, or the first tensor that is not finite.
  UpdateReport Measure() const;
  // The number `update`, from 1. Gradients become zero.
  void Apply(const UpdateOptions& options, double gradient_scale, int64_t update);
  void ZeroGradients();

  // Masters and moments in the host's memory: themselves, or copies that hold until the next Apply
  // (where it does not learn, until ViewsChanged).
  std::vector<ParameterView> Views();
  // After writing through the views.
  void ViewsChanged();

 private:
  bool on_cpu() const { return weights_.is_cpu(); }
  // The parameters as exactly as they are held.
  const Tensor& held() const { return learns() ? masters_ : weights_; }
  bool host_writes_state() const;
  void CopyToHost();
  Tensor Part(const Tensor& flat, const ParameterSpec& spec) const;
  // Of one tensor, in the host's memory; empty in float32.
  std::span<c10::BFloat16> NarrowWeights(const ParameterSpec& spec) const;
  void ApplyAdamW(const ParameterSpec& spec, const UpdateOptions& options, double gradient_scale,
                  int64_t update);
  void ApplyAdamWOnDevice(const UpdateOptions& options, double gradient_scale, int64_t update);
  void ApplyMuon(const UpdateOptions& options, double gradient_scale);
  void ApplyMuonOnDevice(const UpdateOptions& options, double gradient_scale);

  const std::vector<ParameterSpec> layout_;
  // Without masters and moments where it does not learn.
  Tensor masters_, weights_, gradients_, moment1_, moment2_;
  // Where Views() copies the state that the host cannot write in float32.
  struct HostCopy {
    Tensor masters, moment1, moment2;
    bool is_current = false;
  } host_;
};

}  // namespace trainyard::worker

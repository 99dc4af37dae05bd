#include "worker/engine/flat_parameters.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "worker/model/fresh_weights.h"
#include "worker/ops/products.h"
#include "worker/optim/device_update.h"
#include "worker/optim/gradient_norm.h"
#include "worker/optim/muon.h"

namespace trainyard::worker {
namespace {

std::span<float> SpanOf(const Tensor& flat) {
  return {flat.mutable_data_ptr<float>(), static_cast<size_t>(flat.numel())};
}
std::span<float> SpanOf(const Tensor& flat, const ParameterSpec& spec) {
  return SpanOf(flat).subspan(static_cast<size_t>(spec.first), static_cast<size_t>(spec.count));
}

AdamW AdamWOf(const UpdateOptions& options, bool decays, double gradient_scale, int64_t update) {
  return {.learning_rate = options.learning_rate,
          .beta1 = options.beta1,
          .beta2 = options.beta2,
          .epsilon = options.epsilon,
          .weight_decay = decays ? options.weight_decay : 0.0,
          .gradient_scale = gradient_scale,
          .update = update};
}
Muon MuonOf(const UpdateOptions& options, double gradient_scale, bool bfloat16) {
  return {.learning_rate = options.learning_rate,
          .momentum = options.muon_momentum,
          .weight_decay = options.weight_decay,
          .gradient_scale = gradient_scale,
          .bfloat16 = bfloat16};
}

// Calls visit(first output, outputs) for each matrix that a linear layer packs.
template <class Visit>
void ForEachProjection(const ParameterSpec& spec, Visit visit) {
  int64_t begin = 0;
  for (const int64_t outputs : spec.projections) {
    visit(begin, outputs);
    begin += outputs;
  }
}

bool IsMuons(const ParameterSpec& spec, const UpdateOptions& options) {
  return options.optimiser == Optimiser::kMuon && !spec.projections.empty();
}

}  // namespace

FlatParameters::FlatParameters(const ModelConfig& config, const EngineOptions& options)
    : layout_(ParameterLayout(config)) {
  const int64_t count = config.parameter_count();
  const auto narrow = options.precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat;
  const auto device = options.device == Device::kCuda ? at::kCUDA : at::kCPU;
  if (!options.learns) {
    weights_ = at::empty({count}, at::device(device).dtype(narrow));
    // The model wants views of every gradient; here they all show the same number.
    gradients_ = at::zeros({1}, at::device(device).dtype(at::kFloat)).expand({count});
    return;
  }
  masters_ = at::empty({count}, at::kFloat);
  FillFreshWeights(config, layout_, options.seed, SpanOf(masters_));
  masters_ = masters_.to(device);
  gradients_ = at::zeros_like(masters_);
  moment1_ = at::zeros_like(masters_);
  moment2_ = at::zeros_like(masters_);
  weights_ = masters_.to(narrow);  // in float32 the same memory
}

std::span<float> FlatParameters::gradient_span() const {
  return learns() ? SpanOf(gradients_) : std::span<float>();
}

Tensor FlatParameters::Part(const Tensor& flat, const ParameterSpec& spec) const {
  return flat.narrow(0, spec.first, spec.count).view(spec.shape);
}

UpdateReport FlatParameters::Measure() const {
  std::vector<double> squares;
  if (on_cpu()) {
    for (const ParameterSpec& spec : layout_)
      squares.push_back(SumOfSquares(SpanOf(gradients_, spec)));
  } else {
    std::vector<Tensor> parts;
    for (const ParameterSpec& spec : layout_) parts.push_back(Part(gradients_, spec));
    squares = Lengths(parts);
    for (double& length : squares) length *= length;
  }
  UpdateReport report;
  double sum = 0;
  for (size_t i = 0; i < squares.size(); ++i) {
    if (!std::isfinite(squares[i]) && !report.skipped) {
      report.skipped = true;
      report.non_finite_in = layout_[i].name;
    }
    sum += squares[i];
  }
  report.grad_norm = std::sqrt(sum);
  return report;
}

void FlatParameters::ZeroGradients() { gradients_.zero_(); }

void FlatParameters::Apply(const UpdateOptions& options, double gradient_scale, int64_t update) {
  host_.is_current = false;
  const bool muon = options.optimiser == Optimiser::kMuon;
  if (on_cpu()) {
    for (const ParameterSpec& spec : layout_) {
      if (!IsMuons(spec, options)) ApplyAdamW(spec, options, gradient_scale, update);
    }
    if (muon) ApplyMuon(options, gradient_scale);
  } else {
    ApplyAdamWOnDevice(options, gradient_scale, update);
    if (muon) ApplyMuonOnDevice(options, gradient_scale);
    gradients_.zero_();
  }
  // On the host AdamW has written its weights already.
  if (!weights_.is_same(masters_) && (muon || !on_cpu())) weights_.copy_(masters_);
}

std::span<c10::BFloat16> FlatParameters::NarrowWeights(const ParameterSpec& spec) const {
  if (weights_.is_same(masters_)) return {};
  return {weights_.mutable_data_ptr<c10::BFloat16>() + spec.first, static_cast<size_t>(spec.count)};
}

// ------------------------------------------------------------------------- sweeps over the host's

void FlatParameters::ApplyAdamW(const ParameterSpec& spec, const UpdateOptions& options,
                                double gradient_scale, int64_t update) {
  AdamWUpdate(AdamWOf(options, spec.decays(), gradient_scale, update), SpanOf(masters_, spec),
              SpanOf(gradients_, spec), SpanOf(moment1_, spec), SpanOf(moment2_, spec),
              NarrowWeights(spec));
}

void FlatParameters::ApplyMuon(const UpdateOptions& options, double gradient_scale) {
  std::vector<MuonMatrix> matrices;
  for (const ParameterSpec& spec : layout_) {
    const int64_t width = spec.shape.back();
    ForEachProjection(spec, [&](int64_t begin, int64_t outputs) {
      const int64_t first = spec.is_in_out ? begin : begin * width;
      matrices.push_back({.master = SpanOf(masters_, spec).data() + first,
                          .gradient = SpanOf(gradients_, spec).data() + first,
                          .momentum = SpanOf(moment1_, spec).data() + first,
                          .rows = spec.is_in_out ? spec.shape[0] : outputs,
                          .columns = spec.is_in_out ? outputs : width,
                          .stride = width});
    });
  }
  MuonUpdate(MuonOf(options, gradient_scale, HasBfloat16Products()), matrices);
}

// ---------------------------------------------------------------------- operations on the device's

void FlatParameters::ApplyAdamWOnDevice(const UpdateOptions& options, double gradient_scale,
                                        int64_t update) {
  for (const bool decays : {false, true}) {
    AdamWTensors tensors;
    for (const ParameterSpec& spec : layout_) {
      if (spec.decays() != decays || IsMuons(spec, options)) continue;
      tensors.master.push_back(Part(masters_, spec));
      tensors.gradient.push_back(Part(gradients_, spec));
      tensors.moment1.push_back(Part(moment1_, spec));
      tensors.moment2.push_back(Part(moment2_, spec));
    }
    AdamWUpdate(AdamWOf(options, decays, gradient_scale, update), tensors);
  }
}

void FlatParameters::ApplyMuonOnDevice(const UpdateOptions& options, double gradient_scale) {
  std::vector<MuonTensors> matrices;
  for (const ParameterSpec& spec : layout_) {
    ForEachProjection(spec, [&](int64_t begin, int64_t outputs) {
      const auto matrix = [&](const Tensor& flat) {
        return Part(flat, spec).narrow(spec.is_in_out ? 1 : 0, begin, outputs);
      };
      matrices.push_back({.master = matrix(masters_),
                          .gradient = matrix(gradients_),
                          .momentum = matrix(moment1_)});
    });
  }
  MuonUpdate(MuonOf(options, gradient_scale, /*bfloat16=*/true), matrices);
}

// ------------------------------------------------------------------------------- what others see

bool FlatParameters::host_writes_state() const {
  return held().is_cpu() && held().scalar_type() == at::kFloat;
}

void FlatParameters::CopyToHost() {
  if (host_.is_current) return;
  const auto options = at::TensorOptions(at::kFloat).pinned_memory(!on_cpu());
  const auto copy = [&](const Tensor& from, Tensor& to) {
    if (!to.defined()) to = at::empty({from.numel()}, options);
    to.copy_(from);
  };
  copy(held(), host_.masters);
  if (learns()) copy(moment1_, host_.moment1);
  if (learns()) copy(moment2_, host_.moment2);
  host_.is_current = true;
}

std::vector<ParameterView> FlatParameters::Views() {
  HostCopy seen{.masters = held(), .moment1 = moment1_, .moment2 = moment2_};
  if (!host_writes_state()) {
    CopyToHost();
    seen = host_;
  }
  std::vector<ParameterView> views;
  for (const ParameterSpec& spec : layout_) {
    views.push_back({.name = spec.name,
                     .shape = spec.shape,
                     .master = SpanOf(seen.masters, spec).data(),
                     .moment1 = learns() ? SpanOf(seen.moment1, spec).data() : nullptr,
                     .moment2 = learns() ? SpanOf(seen.moment2, spec).data() : nullptr,
                     .count = spec.count});
  }
  return views;
}

void FlatParameters::ViewsChanged() {
  if (!host_writes_state() && host_.is_current) {
    held().copy_(host_.masters);
    if (learns()) moment1_.copy_(host_.moment1);
    if (learns()) moment2_.copy_(host_.moment2);
    if (!learns()) host_ = {};
  }
  if (learns() && !weights_.is_same(masters_)) weights_.copy_(masters_);
}

}  // namespace trainyard::worker

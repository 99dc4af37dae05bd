#include "worker/engine/engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "worker/engine/batch_check.h"
#include "worker/engine/flat_parameters.h"
#include "worker/engine/generator.h"
#include "worker/engine/gradient_sums.h"
#include "worker/engine/sampling.h"
#include "worker/model/transformer.h"
#include "worker/ops/cpu_kernels.h"
#include "worker/ops/head.h"
#include "worker/optim/gradient_norm.h"

namespace trainyard::worker {
namespace {

constexpr int kThreadsMax = 1024;

// The trained places of a batch, and what they should predict.
struct Trained {
  Tensor target_N;              // int64
  std::optional<Tensor> row_N;  // int64; none: every place is trained

  Tensor Select(const Tensor& x_TD) const { return row_N ? x_TD.index_select(0, *row_N) : x_TD; }
  // The transpose of Select.
  Tensor Spread(const Tensor& dx_ND, int64_t tokens) const {
    if (!row_N) return dx_ND;
    return at::zeros({tokens, dx_ND.size(1)}, dx_ND.options()).index_copy_(0, *row_N, dx_ND);
  }
};

Trained TrainedOf(const Batch& batch, at::Device device) {
  std::vector<int64_t> rows, targets;
  for (size_t i = 0; i < batch.target_ids_T.size(); ++i) {
    if (batch.target_ids_T[i] == kNoTarget) continue;
    rows.push_back(static_cast<int64_t>(i));
    targets.push_back(batch.target_ids_T[i]);
  }
  Trained trained{.target_N = ToDevice(at::tensor(targets, at::kLong), device), .row_N = {}};
  if (rows.size() < batch.target_ids_T.size()) {
    trained.row_N = ToDevice(at::tensor(rows, at::kLong), device);
  }
  return trained;
}

std::vector<float> ToVector(const Tensor& x_N) {
  const Tensor flat = x_N.to(at::kCPU, at::kFloat).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

Tensor FromVector(const std::vector<float>& values, at::Device device) {
  return ToDevice(at::tensor(values, at::kFloat), device);
}

class TorchEngine final : public Engine {
 public:
  TorchEngine(const ModelConfig& config, const EngineOptions& options);

  const ModelConfig& config() const override { return config_; }
  StatusOr<TokenOutputs> Forward(const Batch& batch) override;
  StatusOr<StepLoss> ForwardBackward(const Batch& batch, const TokenObjective& objective,
                                     const SumOver& last) override;
  StatusOr<UpdateReport> Update(const UpdateOptions& options, Collective* collective) override;
  int64_t update_count() const override { return update_count_; }
  void set_update_count(int64_t count) override { update_count_ = count; }
  StatusOr<std::vector<ParameterView>> Parameters() override;
  Status WeightsChanged() override;
  Status Sample(std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
                const OnToken& on_token, PrefixCache* prefix) override;

 private:
  // Runs a verb with this engine's threads and without autograd; what torch throws becomes a
  // Status.
  template <class Result, class Verb>
  Result Run(const char* name, Verb verb);

  StatusOr<StepLoss> Learn(const Batch& batch, const TokenObjective& objective);
  at::Device device() const { return parameters_.weights().device(); }
  Status CheckPredicts() const;
  Status CheckLearns() const;
  void ForgetUnlessCurrent(PrefixCache& prefix) const;

  const ModelConfig config_;
  const EngineOptions options_;
  FlatParameters parameters_;
  const Transformer model_;
  GradientSums sums_;
  int64_t update_count_ = 0;
  int64_t weights_version_ = 0;  // counts their changes
};

TorchEngine::TorchEngine(const ModelConfig& config, const EngineOptions& options)
    : config_(config),
      options_(options),
      parameters_(config, options),
      model_(config, parameters_.layout(), parameters_.weights(), parameters_.gradients(),
             options.recompute),
      sums_(parameters_.gradient_span(), parameters_.learns()
                                             ? BackwardOrder(config_, parameters_.layout())
                                             : std::vector<LayoutRange>()) {}

template <class Result, class Verb>
Result TorchEngine::Run(const char* name, Verb verb) {
  try {
    const WithoutAutograd guard;
    if (at::get_num_threads() != options_.threads) at::set_num_threads(options_.threads);
    return verb();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("{}: out of memory; use a smaller micro-batch or model", name);
  } catch (const c10::OutOfMemoryError& error) {
    return ResourceExhausted("{}: out of memory ({}); use a smaller micro-batch or model", name,
                             error.what_without_backtrace());
  } catch (const c10::Error& error) {
    return Internal("{}: torch failed: {}", name, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Internal("{}: failed: {}", name, error.what());
  }
}

Status TorchEngine::CheckPredicts() const {
  if (model_.head().predicts()) return OkStatus();
  return FailedPrecondition("this {} is a bare model without a head: it predicts no tokens",
                            config_.model_type);
}

Status TorchEngine::CheckLearns() const {
  if (parameters_.learns()) return OkStatus();
  return FailedPrecondition("this engine was made to answer, not to learn");
}

StatusOr<TokenOutputs> TorchEngine::Forward(const Batch& batch) {
  RETURN_IF_ERROR(CheckPredicts());
  RETURN_IF_ERROR(CheckBatch(batch, config_));
  return Run<StatusOr<TokenOutputs>>("Forward", [&]() -> StatusOr<TokenOutputs> {
    const Trained trained = TrainedOf(batch, device());
    const PredictionHead& head = model_.head();
    PredictionHead::Saved unused;
    const Tensor hidden_ND = head.Transform(trained.Select(model_.Forward(batch, nullptr)), unused);
    const HeadSignals signals = HeadForward(hidden_ND, head.weights(), trained.target_N);
    TokenOutputs outputs{.logprob_N = ToVector(signals.logprob_N),
                         .entropy_N = ToVector(signals.entropy_N),
                         .argmax_match_N = {}};
    for (const float match : ToVector(signals.argmax_match_N)) {
      outputs.argmax_match_N.push_back(match != 0 ? 1 : 0);
    }
    return outputs;
  });
}

StatusOr<StepLoss> TorchEngine::ForwardBackward(const Batch& batch, const TokenObjective& objective,
                                                const SumOver& last) {
  RETURN_IF_ERROR(CheckLearns());
  RETURN_IF_ERROR(CheckPredicts());
  RETURN_IF_ERROR(CheckBatch(batch, config_));
  sums_.Begin(last.collective, last.timeout);
  return Run<StatusOr<StepLoss>>("ForwardBackward", [&] { return Learn(batch, objective); });
}

StatusOr<StepLoss> TorchEngine::Learn(const Batch& batch, const TokenObjective& objective) {
  const Trained trained = TrainedOf(batch, device());
  const int64_t targets = trained.target_N.size(0);
  if (targets == 0) return StepLoss{};
  Activations saved;
  PredictionHead::Saved head_saved;
  const PredictionHead& head = model_.head();
  const Tensor hidden_ND =
      head.Transform(trained.Select(model_.Forward(batch, &saved)), head_saved);

  const auto push_back = [&](const Tensor& dhidden_ND) {
    model_.Backward(trained.Spread(head.TransformBackward(dhidden_ND, head_saved), batch.tokens()),
                    saved, [this](size_t ranges) { sums_.Finished(ranges); });
  };
  HeadSignals signals;
  TokenGradients loss;
  // What backward needs is asked of the device before anything is read back from it.
  if (objective.coefficients_known_beforehand()) {
    const std::vector<float> unseen_N(static_cast<size_t>(targets), 0.0F);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = unseen_N, .entropy_N = {}}));
    HeadResult result = HeadForwardBackward(hidden_ND, head.weights(), trained.target_N,
                                            FromVector(loss.d_logprob_N, device()));
    signals = std::move(result.signals);
    push_back(result.dhidden_ND);
    const std::vector<float> logprob_N = ToVector(signals.logprob_N);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = logprob_N, .entropy_N = {}}));
  } else {
    signals = HeadForward(hidden_ND, head.weights(), trained.target_N);
    const std::vector<float> logprob_N = ToVector(signals.logprob_N);
    const std::vector<float> entropy_N = ToVector(signals.entropy_N);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = logprob_N, .entropy_N = entropy_N}));
    const Tensor dentropy_N =
        loss.d_entropy_N.empty() ? Tensor() : FromVector(loss.d_entropy_N, device());
    push_back(HeadBackward(hidden_ND, head.weights(), trained.target_N, signals,
                           FromVector(loss.d_logprob_N, device()), dentropy_N));
  }
  return StepLoss{.loss_sum = loss.loss_sum,
                  .argmax_matches = signals.argmax_match_N.sum().item<int64_t>(),
                  .targets = targets};
}

StatusOr<UpdateReport> TorchEngine::Update(const UpdateOptions& options, Collective* collective) {
  RETURN_IF_ERROR(CheckLearns());
  RETURN_IF_ERROR(sums_.Finish(collective, options.timeout));
  return Run<StatusOr<UpdateReport>>("Update", [&]() -> StatusOr<UpdateReport> {
    UpdateReport report = parameters_.Measure();
    report.summing = sums_.waited();
    if (report.skipped) {
      parameters_.ZeroGradients();
    } else {
      parameters_.Apply(options, ClipScale(report.grad_norm, options.max_grad_norm),
                        ++update_count_);
      ++weights_version_;
    }
    return report;
  });
}

StatusOr<std::vector<ParameterView>> TorchEngine::Parameters() {
  return Run<StatusOr<std::vector<ParameterView>>>("Parameters",
                                                   [&] { return parameters_.Views(); });
}

Status TorchEngine::WeightsChanged() {
  return Run<Status>("WeightsChanged", [&] {
    parameters_.ViewsChanged();
    ++weights_version_;
    return OkStatus();
  });
}

void TorchEngine::ForgetUnlessCurrent(PrefixCache& prefix) const {
  const PrefixText* text = prefix.text.get();
  if (text == nullptr) return;
  if (text->model != &model_ || text->weights_version != weights_version_) prefix = PrefixCache();
}

Status TorchEngine::Sample(std::span<const std::vector<int32_t>> prompts,
                           const SampleOptions& options, const OnToken& on_token,
                           PrefixCache* prefix) {
  RETURN_IF_ERROR(CheckPredicts());
  RETURN_IF_ERROR(CheckSampleOptions(options));
  if (!config_.family().causal) {
    return FailedPrecondition("a {} looks both ways: it cannot continue a text",
                              config_.model_type);
  }
  for (const std::vector<int32_t>& prompt : prompts) {
    RETURN_IF_ERROR(CheckPrompt(prompt, config_));
  }
  if (prefix != nullptr && prompts.size() != 1) {
    return InvalidArgument("a prefix cache serves one prompt, got {}", prompts.size());
  }
  return Run<Status>("Sample", [&] {
    if (prefix != nullptr) ForgetUnlessCurrent(*prefix);
    Generate(model_, config_, prompts, options, on_token, prefix);
    if (prefix != nullptr && prefix->text != nullptr)
      prefix->text->weights_version = weights_version_;
    return OkStatus();
  });
}

}  // namespace

const std::string& KernelsInUse() { return KernelTarget(); }

StatusOr<std::unique_ptr<Engine>> Engine::Create(const ModelConfig& config,
                                                 const EngineOptions& options) {
  ASSIGN_OR_RETURN(const ModelConfig full, WithFamily(config));
  RETURN_IF_ERROR(ValidateModelConfig(full));
  RETURN_IF_ERROR(PrepareDevice(options.device));
  if (options.threads < 1 || options.threads > kThreadsMax) {
    return InvalidArgument("threads must be between 1 and {}, got {}", kThreadsMax,
                           options.threads);
  }
  try {
    at::set_num_threads(options.threads);
    return std::make_unique<TorchEngine>(full, options);
  } catch (const std::exception& error) {
    return ResourceExhausted("no memory for a model of {} parameters: {}", full.parameter_count(),
                             error.what());
  }
}

}  // namespace trainyard::worker

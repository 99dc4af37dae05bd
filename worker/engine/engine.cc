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

#include "common/rng.h"
#include "worker/engine/batch_check.h"
#include "worker/engine/sampling.h"
#include "worker/model/fresh_weights.h"
#include "worker/model/layout.h"
#include "worker/model/transformer.h"
#include "worker/ops/cpu_kernels.h"
#include "worker/ops/head.h"
#include "worker/ops/products.h"
#include "worker/optim/adamw.h"
#include "worker/optim/gradient_norm.h"
#include "worker/optim/muon.h"

namespace trainyard::worker {
namespace {

constexpr int kThreadsMax = 1024;
// Prompt tokens that Sample reads at once: bounds the scores of AttentionDecode.
constexpr size_t kPrefillTokens = 256;

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

Trained TrainedOf(const Batch& batch) {
  std::vector<int64_t> rows, targets;
  for (size_t i = 0; i < batch.target_ids_T.size(); ++i) {
    if (batch.target_ids_T[i] == kNoTarget) continue;
    rows.push_back(static_cast<int64_t>(i));
    targets.push_back(batch.target_ids_T[i]);
  }
  Trained trained{.target_N = at::tensor(targets, at::kLong), .row_N = {}};
  if (rows.size() < batch.target_ids_T.size()) trained.row_N = at::tensor(rows, at::kLong);
  return trained;
}

std::vector<float> ToVector(const Tensor& x_N) {
  const Tensor flat = x_N.to(at::kFloat).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

Tensor FromVector(const std::vector<float>& values) { return at::tensor(values, at::kFloat); }

std::span<float> SpanOf(const Tensor& flat, const ParameterSpec& spec) {
  return {flat.mutable_data_ptr<float>() + spec.first, static_cast<size_t>(spec.count)};
}

class TorchEngine final : public Engine {
 public:
  TorchEngine(const ModelConfig& config, const EngineOptions& options);

  const ModelConfig& config() const override { return config_; }
  StatusOr<TokenOutputs> Forward(const Batch& batch) override;
  StatusOr<StepLoss> ForwardBackward(const Batch& batch, const TokenObjective& objective) override;
  StatusOr<UpdateReport> Update(const UpdateOptions& options, Collective* collective) override;
  int64_t update_count() const override { return update_count_; }
  void set_update_count(int64_t count) override { update_count_ = count; }
  std::vector<ParameterView> Parameters() override;
  Status WeightsChanged() override;
  Status Sample(const std::vector<int32_t>& prompt, const SampleOptions& options,
                const std::function<bool(int32_t, float)>& on_token) override;

 private:
  // Runs a verb with this engine's threads and without autograd; what torch throws becomes a
  // Status.
  template <class Result, class Verb>
  Result Run(const char* name, Verb verb);

  StatusOr<StepLoss> Learn(const Batch& batch, const TokenObjective& objective);
  // The gradient's length, or the first tensor that is not finite.
  UpdateReport MeasureGradient() const;
  void Apply(const UpdateOptions& options, double gradient_scale);
  void ApplyAdamW(const ParameterSpec& spec, const UpdateOptions& options, double gradient_scale);
  void ApplyMuon(const UpdateOptions& options, double gradient_scale);
  // The matrices of one linear layer, whose momentum is moment1.
  void AddMuonMatrices(const ParameterSpec& spec, std::vector<MuonMatrix>* matrices) const;
  Tensor NextLogits(std::span<const int32_t> tokens, KvCache& cache) const;

  const ModelConfig config_;
  const EngineOptions options_;
  const std::vector<ParameterSpec> layout_;
  // Flat, in the order of layout_. In float32 the weights are the masters themselves.
  Tensor masters_, weights_, gradients_, moment1_, moment2_;
  std::unique_ptr<Transformer> model_;
  int64_t update_count_ = 0;
};

TorchEngine::TorchEngine(const ModelConfig& config, const EngineOptions& options)
    : config_(config), options_(options), layout_(ParameterLayout(config)) {
  const int64_t count = config.parameter_count();
  masters_ = at::empty({count}, at::kFloat);
  gradients_ = at::zeros({count}, at::kFloat);
  moment1_ = at::zeros({count}, at::kFloat);
  moment2_ = at::zeros({count}, at::kFloat);
  FillFreshWeights(config, layout_, options.seed,
                   {masters_.mutable_data_ptr<float>(), static_cast<size_t>(count)});
  weights_ = options.precision == Precision::kBfloat16 ? masters_.to(at::kBFloat16) : masters_;
  model_ = std::make_unique<Transformer>(config_, layout_, weights_, gradients_, options.recompute);
}

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

StatusOr<TokenOutputs> TorchEngine::Forward(const Batch& batch) {
  RETURN_IF_ERROR(CheckBatch(batch, config_));
  return Run<StatusOr<TokenOutputs>>("Forward", [&]() -> StatusOr<TokenOutputs> {
    const Trained trained = TrainedOf(batch);
    const Tensor hidden_ND = trained.Select(model_->Forward(batch, nullptr));
    const HeadSignals signals = HeadForward(hidden_ND, model_->head_VD().value, trained.target_N);
    TokenOutputs outputs{.logprob_N = ToVector(signals.logprob_N),
                         .entropy_N = ToVector(signals.entropy_N),
                         .argmax_match_N = {}};
    for (const float match : ToVector(signals.argmax_match_N)) {
      outputs.argmax_match_N.push_back(match != 0 ? 1 : 0);
    }
    return outputs;
  });
}

StatusOr<StepLoss> TorchEngine::ForwardBackward(const Batch& batch,
                                                const TokenObjective& objective) {
  RETURN_IF_ERROR(CheckBatch(batch, config_));
  return Run<StatusOr<StepLoss>>("ForwardBackward", [&] { return Learn(batch, objective); });
}

StatusOr<StepLoss> TorchEngine::Learn(const Batch& batch, const TokenObjective& objective) {
  const Trained trained = TrainedOf(batch);
  const int64_t targets = trained.target_N.size(0);
  if (targets == 0) return StepLoss{};
  Activations saved;
  const Tensor hidden_ND = trained.Select(model_->Forward(batch, &saved));
  const Parameter& head_VD = model_->head_VD();

  HeadSignals signals;
  TokenGradients loss;
  Tensor dhidden_ND;
  if (objective.coefficients_known_beforehand()) {
    const std::vector<float> unseen_N(static_cast<size_t>(targets), 0.0F);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = unseen_N, .entropy_N = {}}));
    HeadResult head = HeadForwardBackward(hidden_ND, head_VD.value, trained.target_N,
                                          FromVector(loss.d_logprob_N), head_VD.gradient);
    signals = std::move(head.signals);
    dhidden_ND = std::move(head.dhidden_ND);
    const std::vector<float> logprob_N = ToVector(signals.logprob_N);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = logprob_N, .entropy_N = {}}));
  } else {
    signals = HeadForward(hidden_ND, head_VD.value, trained.target_N);
    const std::vector<float> logprob_N = ToVector(signals.logprob_N);
    const std::vector<float> entropy_N = ToVector(signals.entropy_N);
    ASSIGN_OR_RETURN(loss, objective.Evaluate({.logprob_N = logprob_N, .entropy_N = entropy_N}));
    const Tensor dentropy_N = loss.d_entropy_N.empty() ? Tensor() : FromVector(loss.d_entropy_N);
    dhidden_ND = HeadBackward(hidden_ND, head_VD.value, trained.target_N, signals,
                              FromVector(loss.d_logprob_N), dentropy_N, head_VD.gradient);
  }
  model_->Backward(trained.Spread(dhidden_ND, batch.tokens()), saved);
  return StepLoss{.loss_sum = loss.loss_sum,
                  .argmax_matches = signals.argmax_match_N.sum().item<int64_t>(),
                  .targets = targets};
}

StatusOr<UpdateReport> TorchEngine::Update(const UpdateOptions& options, Collective* collective) {
  if (collective != nullptr) {
    RETURN_IF_ERROR(
        collective->AllReduceSum(std::span<float>(gradients_.mutable_data_ptr<float>(),
                                                  static_cast<size_t>(gradients_.numel())),
                                 options.timeout));
  }
  return Run<StatusOr<UpdateReport>>("Update", [&]() -> StatusOr<UpdateReport> {
    const UpdateReport report = MeasureGradient();
    if (report.skipped) {
      gradients_.zero_();
    } else {
      Apply(options, ClipScale(report.grad_norm, options.max_grad_norm));
    }
    return report;
  });
}

UpdateReport TorchEngine::MeasureGradient() const {
  UpdateReport report;
  double squares = 0;
  for (const ParameterSpec& spec : layout_) {
    const double of_tensor = SumOfSquares(SpanOf(gradients_, spec));
    if (!std::isfinite(of_tensor) && !report.skipped) {
      report.skipped = true;
      report.non_finite_in = spec.name;
    }
    squares += of_tensor;
  }
  report.grad_norm = std::sqrt(squares);
  return report;
}

void TorchEngine::Apply(const UpdateOptions& options, double gradient_scale) {
  ++update_count_;
  const bool muon = options.optimiser == Optimiser::kMuon;
  for (const ParameterSpec& spec : layout_) {
    if (!muon || spec.projections.empty()) ApplyAdamW(spec, options, gradient_scale);
  }
  if (muon) ApplyMuon(options, gradient_scale);
  if (options_.precision == Precision::kBfloat16) weights_.copy_(masters_);
}

void TorchEngine::ApplyAdamW(const ParameterSpec& spec, const UpdateOptions& options,
                             double gradient_scale) {
  const AdamW adamw{.learning_rate = options.learning_rate,
                    .beta1 = options.beta1,
                    .beta2 = options.beta2,
                    .epsilon = options.epsilon,
                    .weight_decay = spec.decays() ? options.weight_decay : 0.0,
                    .gradient_scale = gradient_scale,
                    .update = update_count_};
  AdamWUpdate(adamw, SpanOf(masters_, spec), SpanOf(gradients_, spec), SpanOf(moment1_, spec),
              SpanOf(moment2_, spec));
}

void TorchEngine::ApplyMuon(const UpdateOptions& options, double gradient_scale) {
  std::vector<MuonMatrix> matrices;
  for (const ParameterSpec& spec : layout_) AddMuonMatrices(spec, &matrices);
  MuonUpdate({.learning_rate = options.learning_rate,
              .momentum = options.muon_momentum,
              .weight_decay = options.weight_decay,
              .gradient_scale = gradient_scale,
              .bfloat16 = HasBfloat16Products()},
             matrices);
}

void TorchEngine::AddMuonMatrices(const ParameterSpec& spec,
                                  std::vector<MuonMatrix>* matrices) const {
  const int64_t width = spec.shape.back();
  int64_t begin = 0;  // of the next projection, in outputs
  for (const int64_t outputs : spec.projections) {
    const int64_t first = spec.is_in_out ? begin : begin * width;
    matrices->push_back({.master = SpanOf(masters_, spec).data() + first,
                         .gradient = SpanOf(gradients_, spec).data() + first,
                         .momentum = SpanOf(moment1_, spec).data() + first,
                         .rows = spec.is_in_out ? spec.shape[0] : outputs,
                         .columns = spec.is_in_out ? outputs : width,
                         .stride = width});
    begin += outputs;
  }
}

std::vector<ParameterView> TorchEngine::Parameters() {
  std::vector<ParameterView> views;
  for (const ParameterSpec& spec : layout_) {
    views.push_back({.name = spec.name,
                     .shape = spec.shape,
                     .master = SpanOf(masters_, spec).data(),
                     .moment1 = SpanOf(moment1_, spec).data(),
                     .moment2 = SpanOf(moment2_, spec).data(),
                     .count = spec.count});
  }
  return views;
}

Status TorchEngine::WeightsChanged() {
  if (options_.precision == Precision::kFloat32) return OkStatus();
  return Run<Status>("WeightsChanged", [&] {
    weights_.copy_(masters_);
    return OkStatus();
  });
}

Tensor TorchEngine::NextLogits(std::span<const int32_t> tokens, KvCache& cache) const {
  Tensor hidden_TD;
  while (!tokens.empty()) {
    const auto chunk = tokens.first(std::min(tokens.size(), kPrefillTokens));
    hidden_TD = model_->Decode(chunk, cache);
    tokens = tokens.subspan(chunk.size());
  }
  const Tensor last_1D = hidden_TD.narrow(0, hidden_TD.size(0) - 1, 1);
  return HeadLogits(last_1D, model_->head_VD().value).to(at::kFloat).contiguous();
}

Status TorchEngine::Sample(const std::vector<int32_t>& prompt, const SampleOptions& options,
                           const std::function<bool(int32_t, float)>& on_token) {
  RETURN_IF_ERROR(CheckSampleOptions(options));
  RETURN_IF_ERROR(CheckPrompt(prompt, config_));
  return Run<Status>("Sample", [&] {
    const Rng rng{.seed = options.seed, .purpose = Purpose::kSample};
    const auto length = static_cast<int64_t>(prompt.size());
    const int64_t new_tokens = std::min(options.max_new_tokens, config_.max_positions - length);
    KvCache cache = model_->NewCache(length + new_tokens);
    std::vector<int32_t> next = prompt;
    for (int64_t i = 0; i < new_tokens; ++i) {
      const Tensor logit_1V = NextLogits(next, cache);
      const std::span<const float> logit_V(logit_1V.const_data_ptr<float>(),
                                           static_cast<size_t>(config_.vocab_size));
      const Choice choice =
          ChooseToken(logit_V, options, rng.Uniform(/*step=*/0, static_cast<uint64_t>(i)));
      const bool stops = std::find(options.stop_ids.begin(), options.stop_ids.end(),
                                   choice.token) != options.stop_ids.end();
      if (!on_token(choice.token, choice.logprob) || stops) break;
      next = {choice.token};
    }
    return OkStatus();
  });
}

}  // namespace

const std::string& KernelsInUse() { return KernelTarget(); }

StatusOr<std::unique_ptr<Engine>> Engine::Create(const ModelConfig& config,
                                                 const EngineOptions& options) {
  ASSIGN_OR_RETURN(const ModelConfig full, WithFamily(config));
  RETURN_IF_ERROR(ValidateModelConfig(full));
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

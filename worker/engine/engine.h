// An engine: one model, its optimiser, and the verbs the job loops use. The only face of model,
// ops, optim and parallel; the loops above it know no kernel, device or mesh.
//
// Not thread-safe. Every verb returns errors as Status (one wrapper catches what torch throws).
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/model/config.h"
#include "common/plan/recompute.h"
#include "common/status.h"
#include "worker/checkpoint/parameter_view.h"
#include "worker/data/batch.h"
#include "worker/engine/device.h"
#include "worker/engine/prefix_cache.h"
#include "worker/objective/token_objective.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

enum class Precision { kFloat32, kBfloat16 };

struct EngineOptions {
  std::string name = "policy";  // keys state, optimiser files and random streams
  Precision precision = Precision::kFloat32;
  Device device = Device::kCpu;
  int threads = 1;  // of the host
  uint64_t seed = 42;
  plan::Recompute recompute = plan::Recompute::kNone;  // changes memory and time, not a bit
  // False: an engine that only answers. It has weights in its precision (of any value until they
  // are written) but neither masters, gradients nor moments; ForwardBackward and Update are refused.
  bool learns = true;
};

// What Forward says of each trained token, in batch order.
struct TokenOutputs {
  std::vector<float> logprob_N;
  std::vector<float> entropy_N;
  std::vector<uint8_t> argmax_match_N;
};

struct StepLoss {
  double loss_sum = 0;         // the objective's part for this micro-batch
  int64_t argmax_matches = 0;  // trained tokens whose target was the likeliest
  int64_t targets = 0;
};

// kMuon: Muon for the linear layers of blocks, AdamW for all else, with one learning rate.
enum class Optimiser { kAdamW, kMuon };

struct UpdateOptions {
  Optimiser optimiser = Optimiser::kAdamW;
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double muon_momentum = 0.95;
  double weight_decay = 0;   // applied to tensors of two or more dims
  double max_grad_norm = 0;  // 0: no clipping
  absl::Duration timeout = absl::Seconds(600);
};

// Which ranks sum a step's gradients (null: this one alone), and how long one call may take.
struct SumOver {
  Collective* collective = nullptr;
  absl::Duration timeout = absl::Seconds(600);
};

struct UpdateReport {
  double grad_norm = 0;       // L2 over all parameters, before clipping
  bool skipped = false;       // a gradient was not finite: nothing was changed
  std::string non_finite_in;  // the first such tensor's name
  absl::Duration summing;     // waited for the sum over ranks
};

struct SampleOptions {
  int64_t max_new_tokens = 128;
  double temperature = 1.0;  // 0: greedy
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;
  double min_p = 0;               // of the likeliest token's probability; 0: off
  double repetition_penalty = 1;  // above 1: what was said before becomes less likely
  uint64_t seed = 42;
  std::vector<int32_t> stop_ids = {};
  int64_t batch_max = 16;  // prompts that are continued at the same time
};

struct SampledToken {
  size_t prompt = 0;  // its index
  int32_t id = 0;
  float logprob = 0;     // of the full softmax at the sampling temperature (at 1 when greedy)
  bool is_last = false;  // nothing follows it, whatever its taker says
};

// What the operations run with: the instruction set of the CPU kernels, or "off" (their
// compositions).
const std::string& KernelsInUse();

class Engine {
 public:
  // Fresh weights, a function of (options.seed, tensor name, element) alone, if it learns. Errors
  // of PrepareDevice, InvalidArgument for a bad config, ResourceExhausted without the memory.
  static StatusOr<std::unique_ptr<Engine>> Create(const ModelConfig& config,
                                                  const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelConfig& config() const = 0;
  virtual StatusOr<TokenOutputs> Forward(const Batch& batch) = 0;
  // Adds this micro-batch's gradients to what is there. `last`: given with the last one before an
  // Update over this collective; where that pays (gradient_sums.h), finished gradients are summed
  // from here on, so nobody else may use the collective until Update has returned. An engine that
  // goes away in between aborts it.
  virtual StatusOr<StepLoss> ForwardBackward(const Batch& batch, const TokenObjective& objective,
                                             const SumOver& last = {}) = 0;
  // Sums gradients over the collective's ranks (null: one rank), clips, updates once, and zeroes
  // the gradients. The collective must take memory of the engine's device.
  virtual StatusOr<UpdateReport> Update(const UpdateOptions& options, Collective* collective) = 0;
  // Updates done so far; part of the state (AdamW's bias correction).
  virtual int64_t update_count() const = 0;
  virtual void set_update_count(int64_t count) = 0;

  // In checkpoint order, in the host's memory: the state itself or, on other devices and where
  // there are only bfloat16 weights, a copy that holds until the next Update or WeightsChanged.
  // After writing through the pointers call WeightsChanged().
  virtual StatusOr<std::vector<ParameterView>> Parameters() = 0;
  virtual Status WeightsChanged() = 0;

  // Continues prompts with KV caches, up to batch_max at a time and without padding; each ends with
  // a stop id (which is told), after max_new_tokens, where the model has no more places, or when
  // `on_token` returns false. Draws are a function of (seed, prompt index, token index), whatever
  // else is in the batch. Causal models only. With a `prefix` there is one prompt, read from where
  // it parts from what the prefix holds; its logits then differ by rounding, and the prefix holds
  // it and its continuation afterwards.
  using OnToken = std::function<bool(const SampledToken& token)>;
  virtual Status Sample(std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
                        const OnToken& on_token, PrefixCache* prefix = nullptr) = 0;
};

}  // namespace trainyard::worker

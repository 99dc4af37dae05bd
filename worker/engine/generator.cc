#include "worker/engine/generator.h"

#include <algorithm>
#include <utility>

#include "common/rng.h"
#include "worker/engine/sampling.h"
#include "worker/ops/head.h"

namespace trainyard::worker {
namespace {

// Tokens of prompts that are read at once, the first prompt's apart: bounds the activations.
constexpr int64_t kPrefillTokensMax = 2048;

// A prompt that is being continued.
struct Active {
  size_t prompt = 0;
  std::vector<int32_t> tokens;  // the prompt's and the new ones
  size_t read = 0;              // of them, those that the model has seen
  int64_t sampled = 0;
  int64_t new_tokens_max = 0;
  KvCache cache;

  std::span<const int32_t> unread() const { return std::span(tokens).subspan(read); }
};

class Generation {
 public:
  Generation(const Transformer& model, const ModelConfig& config,
             std::span<const std::vector<int32_t>> prompts, const SampleOptions& options)
      : model_(model),
        config_(config),
        prompts_(prompts),
        options_(options),
        rng_{.seed = options.seed, .purpose = Purpose::kSample} {}

  void Run(const Engine::OnToken& on_token) {
    while (true) {
      Admit();
      if (active_.empty()) return;
      const Tensor logit_IV = NextLogits();
      std::erase_if(active_, [&, i = int64_t{0}](Active& active) mutable {
        return !Step(active, logit_IV[i++], on_token);
      });
    }
  }

 private:
  // Begins prompts while there is room beside those that go on.
  void Admit() {
    int64_t tokens = 0;
    while (next_ < prompts_.size() && std::ssize(active_) < options_.batch_max) {
      const std::vector<int32_t>& prompt = prompts_[next_];
      const int64_t length = std::ssize(prompt);
      if (tokens > 0 && tokens + length > kPrefillTokensMax) return;
      tokens += length;
      const int64_t new_tokens = std::min(options_.max_new_tokens, config_.max_length() - length);
      if (new_tokens > 0) {
        active_.push_back({.prompt = next_,
                           .tokens = prompt,
                           .new_tokens_max = new_tokens,
                           .cache = model_.NewCache(length + new_tokens)});
      }
      ++next_;
    }
  }

  Tensor NextLogits() {
    std::vector<Continuation> items;
    for (Active& active : active_) items.push_back({active.unread(), &active.cache});
    const Tensor hidden_ID = model_.Decode(items);
    for (Active& active : active_) active.read = active.tokens.size();
    return HeadLogits(hidden_ID, model_.head().weights()).to(at::kCPU, at::kFloat).contiguous();
  }

  // False when this was its last token.
  bool Step(Active& active, const Tensor& logit_V, const Engine::OnToken& on_token) {
    const std::span<const float> logits(logit_V.const_data_ptr<float>(),
                                        static_cast<size_t>(config_.vocab_size));
    const double uniform = rng_.Uniform(active.prompt, static_cast<uint64_t>(active.sampled));
    const Choice choice = ChooseToken(logits, options_, active.tokens, uniform);
    active.tokens.push_back(choice.token);
    const bool wanted =
        on_token({.prompt = active.prompt, .id = choice.token, .logprob = choice.logprob});
    const bool stops = std::find(options_.stop_ids.begin(), options_.stop_ids.end(),
                                 choice.token) != options_.stop_ids.end();
    return wanted && !stops && ++active.sampled < active.new_tokens_max;
  }

  const Transformer& model_;
  const ModelConfig& config_;
  const std::span<const std::vector<int32_t>> prompts_;
  const SampleOptions& options_;
  const Rng rng_;
  std::vector<Active> active_;  // at most batch_max
  size_t next_ = 0;             // the prompt to begin next
};

}  // namespace

void Generate(const Transformer& model, const ModelConfig& config,
              std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
              const Engine::OnToken& on_token) {
  Generation(model, config, prompts, options).Run(on_token);
}

}  // namespace trainyard::worker

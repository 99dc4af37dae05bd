#include "worker/engine/generator.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/rng.h"
#include "worker/engine/sampling.h"
#include "worker/ops/head.h"

namespace trainyard::worker {
namespace {

// Tokens of prompts that are read at once, the first prompt's apart: bounds the activations.
constexpr int64_t kPrefillTokensMax = 2048;
// Tokens that are read at once of a text that goes on from what is cached: AttentionDecode holds a
// row of scores for each.
constexpr int64_t kPieceTokensMax = 256;

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

// How many tokens both begin with.
size_t CommonLength(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

class Generation {
 public:
  Generation(const Transformer& model, const ModelConfig& config,
             std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
             PrefixCache* prefix)
      : model_(model),
        config_(config),
        prompts_(prompts),
        options_(options),
        prefix_(prefix),
        rng_{.seed = options.seed, .purpose = Purpose::kSample} {}

  void Run(const Engine::OnToken& on_token) {
    while (true) {
      Admit();
      if (active_.empty()) return;
      const Tensor logit_IV = NextLogits();
      std::erase_if(active_, [&, i = int64_t{0}](Active& active) mutable {
        if (Step(active, logit_IV[i++], on_token)) return false;
        if (prefix_ != nullptr) Keep(active);
        return true;
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
        if (prefix_ != nullptr) GoOnFromPrefix(active_.back());
      }
      ++next_;
    }
  }

  // Takes over what the prefix has of a prompt; its last token at least is left to read.
  void GoOnFromPrefix(Active& active) {
    const std::unique_ptr<PrefixText> text = std::move(prefix_->text);
    prefix_->reused = 0;
    // Of a model that looks ahead, what was cached has not seen what comes now.
    if (text == nullptr || !config_.is_causal()) return;
    const size_t common = CommonLength(text->tokens, active.tokens);
    active.read = std::min(common, active.tokens.size() - 1);
    active.cache.TakeFirst(static_cast<int64_t>(active.read), text->cache);
    prefix_->reused = static_cast<int64_t>(active.read);
    while (active.read > 0 && std::ssize(active.unread()) > kPieceTokensMax) {
      const Continuation piece{active.unread().first(kPieceTokensMax), &active.cache};
      model_.Decode({&piece, 1});
      active.read += kPieceTokensMax;
    }
  }

  void Keep(Active& active) {
    active.tokens.resize(active.read);  // the last one was told, but not read
    prefix_->text = std::make_unique<PrefixText>(PrefixText{
        .model = &model_, .tokens = std::move(active.tokens), .cache = std::move(active.cache)});
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
    const bool stops = std::find(options_.stop_ids.begin(), options_.stop_ids.end(),
                                 choice.token) != options_.stop_ids.end();
    const bool last = stops || ++active.sampled == active.new_tokens_max;
    const bool wanted = on_token(
        {.prompt = active.prompt, .id = choice.token, .logprob = choice.logprob, .is_last = last});
    return wanted && !last;
  }

  const Transformer& model_;
  const ModelConfig& config_;
  const std::span<const std::vector<int32_t>> prompts_;
  const SampleOptions& options_;
  PrefixCache* const prefix_;
  const Rng rng_;
  std::vector<Active> active_;  // at most batch_max
  size_t next_ = 0;             // the prompt to begin next
};

}  // namespace

PrefixCache::PrefixCache() = default;
PrefixCache::~PrefixCache() = default;
PrefixCache::PrefixCache(PrefixCache&&) noexcept = default;
PrefixCache& PrefixCache::operator=(PrefixCache&&) noexcept = default;

void Generate(const Transformer& model, const ModelConfig& config,
              std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
              const Engine::OnToken& on_token, PrefixCache* prefix) {
  Generation(model, config, prompts, options, prefix).Run(on_token);
}

}  // namespace trainyard::worker

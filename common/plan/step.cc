#include "common/plan/step.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/plan/scratch.h"

namespace trainyard::plan {
namespace {

using Held = Meter::Held;
using enum Part;

constexpr int64_t kChunkTokens = 512;  // of the head, as worker/ops/head.cc has it
constexpr int64_t kChunkLogitsMax = int64_t{64} << 20;
constexpr int64_t kFloat = 4, kId = 8;

// As HalfSaved and BlockSaved of worker/model/block.h.
struct HalfSaved {
  Held in, normed, before_stats, result, after_stats;
};
struct BlockSaved {
  HalfSaved attention_half, mlp_half;
  Held query, key, query_stats, key_stats;
  Held qkv, attention_out, logsumexp, mlp_in, mlp_activated;
};

class Replay {
 public:
  Replay(const StepShape& step, Meter& meter)
      : step_(step),
        model_(step.model),
        family_(model_.family()),
        meter_(meter),
        tokens_(step.tokens()),
        learning_(step.learning()) {}

  void ForwardBackward() {
    const Targets targets = TakeTargets();
    std::vector<BlockSaved> blocks(static_cast<size_t>(model_.layers));
    const Places places = Embed();
    Held x = Kept("block input", model_.hidden_size);
    for (BlockSaved& saved : blocks) x = BlockForward(std::move(x), saved);
    const HeadSaved head = HeadForward(std::move(x));
    const Held coefficients = OfLearning("gradients by log-probabilities", kFloat);
    const Signals signals = TakeSignals(/*entropy=*/caps_logits());
    if (caps_logits()) Logits();  // a sweep of its own
    const Held dhidden = HeadBackward();
    const Held dseen = HeadTransformBackward();
    const Held dspread = every_place_learns()
                             ? nullptr
                             : Between("gradient of the residual stream", model_.hidden_size);

    Held dx =
        masked_head() ? Held() : Between("gradient of the residual stream", model_.hidden_size);
    while (!blocks.empty()) {
      dx = BlockBackward(blocks.back());
      blocks.pop_back();
    }
  }

  void Forward() {
    const Targets targets = TakeTargets();
    const Places places = Embed();
    Held x = Kept("block input", model_.hidden_size);
    for (int64_t layer = 0; layer < model_.layers; ++layer) {
      BlockSaved saved;
      x = BlockForward(std::move(x), saved);
    }
    const HeadSaved head = HeadForward(std::move(x));
    const Signals signals = TakeSignals(/*entropy=*/true);
    Logits();
  }

 private:
  struct Places {
    Held ids, rope, local_rope, embedded, stats;
  };
  struct Targets {
    Held ids, places;
  };
  // Of a head: what it sees, and what it keeps for backward.
  struct HeadSaved {
    Held last, final_stats, hidden;
    Held dense, activated, stats, out;
  };
  struct Signals {
    Held logprob, match, logsumexp, entropy;
  };

  Held Kept(std::string_view tensor, int64_t width) {
    return meter_.Take(kActivations, tensor, tokens_ * width * step_.real());
  }
  Held Between(std::string_view tensor, int64_t width) {
    return meter_.Take(kInFlight, tensor, tokens_ * width * step_.real());
  }
  // Of the places that learn.
  Held OfLearning(std::string_view tensor, int64_t bytes_of_place) {
    return meter_.Take(kHead, tensor, learning_ * bytes_of_place);
  }
  Held KeptOfLearning(std::string_view tensor) {
    return meter_.Take(kActivations, tensor, learning_ * model_.hidden_size * step_.real());
  }
  bool caps_logits() const { return model_.logit_softcap != 0; }
  bool every_place_learns() const { return learning_ == tokens_; }
  Targets TakeTargets() {
    return {.ids = meter_.Take(kData, "targets", learning_ * kId),
            .places = every_place_learns()
                          ? nullptr
                          : meter_.Take(kData, "places that learn", learning_ * kId)};
  }
  // What an operation works in; given back at the end of the statement.
  void Scratch(std::string_view tensor, int64_t bytes) { meter_.Take(kScratch, tensor, bytes); }
  // bfloat16 products are the kernels', float32 ones a library's.
  void ProductScratch(int64_t m, int64_t n, int64_t k) {
    if (step_.bfloat16) Scratch("products", ProductScratchBytes(m, n, k, step_.threads));
  }
  void GradientScratch(int64_t rows, int64_t outputs, int64_t inputs) {
    const int64_t n = family_.names.linear_is_in_out ? outputs : inputs;
    if (step_.bfloat16) {
      Scratch("products", GradientProductScratchBytes(n, rows, step_.threads));
    }
  }
  void AttentionScratch(bool backward) {
    Scratch("attention", AttentionScratchBytes(model_.head_width, step_.length, step_.real(),
                                               step_.threads, backward));
  }
  Held NormStats() { return NormStatsOf(tokens_); }
  Held NormStatsOf(int64_t rows) {
    const int64_t of_token = family_.norm == NormKind::kLayer ? 2 : 1;
    return meter_.Take(kActivations, "norm statistics", rows * of_token * kFloat);
  }
  Held HeadStats(int64_t heads) {
    return meter_.Take(kActivations, "norm statistics", tokens_ * heads * kFloat);
  }
  bool masked_head() const { return family_.head == HeadKind::kMasked; }
  bool norms_before() const { return family_.norm_place != NormPlace::kAfter; }
  bool norms_after() const { return family_.norm_place != NormPlace::kBefore; }
  // Returns the gradient of the inputs.
  Held LinearBackward(int64_t inputs, int64_t outputs) {
    GradientScratch(tokens_, outputs, inputs);
    Held dinputs = Between("gradients between operations", inputs);
    ProductScratch(tokens_, inputs, outputs);
    return dinputs;
  }

  Places Embed() {
    Places places;
    places.ids = meter_.Take(kData, "token ids", 2 * tokens_ * kId);
    const auto rope = [&] {
      return meter_.Take(kActivations, "rope", tokens_ * model_.head_width * kFloat);
    };
    if (family_.position == PositionKind::kRope) places.rope = rope();
    if (model_.has_local_rope()) places.local_rope = rope();
    if (masked_head()) {
      places.embedded = Kept("embeddings", model_.hidden_size);
      places.stats = NormStats();
    }
    return places;
  }

  // From the last block's output, which the final norm keeps, to what the logits are made of.
  HeadSaved HeadForward(Held x) {
    HeadSaved made;
    if (!masked_head()) {
      made.last = std::move(x);
      made.final_stats = NormStats();
      x = Kept("final norm", model_.hidden_size);
    }
    made.hidden = every_place_learns() ? x : KeptOfLearning("places that learn");
    if (!masked_head()) return made;
    made.dense = KeptOfLearning("head's layer");
    ProductScratch(learning_, model_.hidden_size, model_.hidden_size);
    made.activated = KeptOfLearning("head's layer");
    made.stats = NormStatsOf(learning_);
    made.out = KeptOfLearning("head's layer");
    return made;
  }

  Held HeadTransformBackward() {
    if (!masked_head()) return nullptr;
    const auto between = [&] {
      return meter_.Take(kInFlight, "gradient in the head",
                         learning_ * model_.hidden_size * step_.real());
    };
    const Held dactivated = between(), ddense = between();
    GradientScratch(learning_, model_.hidden_size, model_.hidden_size);
    Held dhidden = between();
    ProductScratch(learning_, model_.hidden_size, model_.hidden_size);
    return dhidden;
  }

  Held BlockForward(Held x, BlockSaved& saved) {
    Held y = Run(std::move(x), saved);
    Forget(saved);
    return y;
  }

  Held Run(Held x, BlockSaved& saved) {
    RunInner(std::move(x), saved);
    return Leave(saved.mlp_half, model_.mlp_width, "block input");
  }

  void Enter(Held x, HalfSaved& half) {
    half.in = std::move(x);
    if (!norms_before()) return;
    half.before_stats = NormStats();
    half.normed = Kept("norm outputs", model_.hidden_size);
  }

  // The half's output; its last linear layer has `inputs`.
  Held Leave(HalfSaved& half, int64_t inputs, std::string_view output) {
    if (!norms_after()) {
      Held y = Kept(output, model_.hidden_size);
      ProductScratch(tokens_, model_.hidden_size, inputs);
      return y;
    }
    half.result = Kept("before the norm after", model_.hidden_size);
    ProductScratch(tokens_, model_.hidden_size, inputs);
    half.after_stats = NormStats();
    return Kept(output, model_.hidden_size);
  }

  void NormQueriesAndKeys(BlockSaved& saved) {
    const auto norm = [&](int64_t heads, Held& kept, Held& stats) {
      kept = Kept("queries and keys before their norms", heads * model_.head_width);
      stats = HeadStats(heads);
      Scratch("norms of heads", tokens_ * heads * model_.head_width * step_.real());
    };
    norm(model_.heads, saved.query, saved.query_stats);
    norm(model_.kv_heads, saved.key, saved.key_stats);
  }

  void RunInner(Held x, BlockSaved& saved) {
    Enter(std::move(x), saved.attention_half);
    saved.qkv = Kept("queries, keys, values", model_.qkv_width());
    ProductScratch(tokens_, model_.qkv_width(), model_.hidden_size);
    if (family_.query_key_norm) NormQueriesAndKeys(saved);
    saved.attention_out = Kept("attention output", model_.query_width());
    saved.logsumexp =
        meter_.Take(kActivations, "attention log-sum-exp", model_.heads * tokens_ * kFloat);
    AttentionScratch(/*backward=*/false);
    Held h = Leave(saved.attention_half, model_.query_width(), "residual stream");
    Enter(std::move(h), saved.mlp_half);
    saved.mlp_in = Kept("MLP input", model_.mlp_in_width());
    ProductScratch(tokens_, model_.mlp_in_width(), model_.hidden_size);
    saved.mlp_activated = Kept("MLP activation", model_.mlp_width);
  }

  void Forget(BlockSaved& saved) const {
    if (step_.recompute == Recompute::kNone) return;
    if (step_.recompute == Recompute::kBlock) {
      BlockSaved input;
      input.attention_half.in = std::move(saved.attention_half.in);
      saved = std::move(input);
      return;
    }
    saved.attention_half.normed = saved.mlp_half.normed = saved.mlp_activated = nullptr;
  }

  Held BlockBackward(const BlockSaved& saved) {
    if (step_.recompute != Recompute::kBlock) return HalvesBackward();
    BlockSaved again;
    if (norms_after()) {
      Run(saved.attention_half.in, again);
    } else {
      RunInner(saved.attention_half.in, again);
    }
    return HalvesBackward();
  }

  // The gradient by what the norm after a half saw.
  Held LeaveBackward() {
    return norms_after() ? Between("gradient of the residual stream", model_.hidden_size) : nullptr;
  }

  Held HalvesBackward() {
    const Held dh = MlpBackward();
    const Held dresult = LeaveBackward();
    Held dqkv;
    {
      const Held dattention = LinearBackward(model_.query_width(), model_.hidden_size);
      dqkv = Between("gradient in attention", model_.qkv_width());
      AttentionScratch(/*backward=*/true);
    }
    if (family_.query_key_norm) {
      for (const int64_t heads : {model_.heads, model_.kv_heads}) {
        Scratch("norms of heads", 2 * tokens_ * heads * model_.head_width * step_.real());
      }
    }
    return NormedBackward(model_.qkv_width());
  }

  Held MlpBackward() {
    const Held dresult = LeaveBackward();
    Held din;
    {
      const Held activated = MadeAgain("MLP activation", model_.mlp_width);
      const Held dactivated = LinearBackward(model_.mlp_width, model_.hidden_size);
      din = Between("gradient in the MLP", model_.mlp_in_width());
    }
    return NormedBackward(model_.mlp_in_width());
  }

  // Back through a linear layer of `outputs` and the norm before it.
  Held NormedBackward(int64_t outputs) {
    Held dnormed;
    {
      const bool again = norms_before() && step_.recompute == Recompute::kActivations;
      const Held stats = again ? NormStats() : nullptr;
      const Held normed = norms_before() ? MadeAgain("norm outputs", model_.hidden_size) : nullptr;
      dnormed = LinearBackward(model_.hidden_size, outputs);
    }
    return Between("gradient of the residual stream", model_.hidden_size);
  }

  // Under Recompute::kActivations, what was not kept.
  Held MadeAgain(std::string_view tensor, int64_t width) {
    return step_.recompute == Recompute::kActivations ? Between(tensor, width) : nullptr;
  }

  // Returns the gradient by what the logits are made of.
  Held HeadBackward() {
    Held dhidden = meter_.Take(kInFlight, "gradient of what the head sees",
                               learning_ * model_.hidden_size * step_.real());
    const Held logits = Logits();
    const int64_t values = chunk() * model_.vocab_size, width = model_.hidden_size;
    const Held slope =
        caps_logits() ? meter_.Take(kHead, "slope of the cap", values * kFloat) : nullptr;
    const Held narrow = caps_logits() && step_.bfloat16
                            ? meter_.Take(kHead, "gradient", values * step_.real())
                            : nullptr;
    if (masked_head()) {
      // Sums over places, which ATen takes of bfloat16 numbers from a float32 copy.
      const int64_t copied = step_.bfloat16 ? values : 0;
      Scratch("gradient of the bias", (copied + model_.vocab_size) * kFloat);
    }
    if (step_.bfloat16) {
      Scratch("products", GradientProductScratchBytes(width, chunk(), step_.threads));
    }
    const Held dchunk = meter_.Take(kHead, "gradient", chunk() * width * step_.real());
    // A capped gradient has no column more that would make pairs of an odd vocabulary's.
    if (!caps_logits() || model_.vocab_size % 2 == 0) {
      ProductScratch(chunk(), width, model_.vocab_size);
    }
    return dhidden;
  }

  Signals TakeSignals(bool entropy) {
    return {.logprob = OfLearning("log-probabilities", kFloat),
            .match = OfLearning("matches", 1),
            .logsumexp = OfLearning("log-sum-exp", kFloat),
            .entropy = entropy ? OfLearning("entropies", kFloat) : nullptr};
  }

  Held Logits() {
    Held logits = meter_.Take(kHead, "logits", chunk() * model_.vocab_size * kFloat);
    ProductScratch(chunk(), model_.vocab_size, model_.hidden_size);
    return logits;
  }

  int64_t chunk() const {
    return std::min(learning_,
                    std::clamp<int64_t>(kChunkLogitsMax / model_.vocab_size, 1, kChunkTokens));
  }

  const StepShape& step_;
  const ModelConfig& model_;
  const Family& family_;
  Meter& meter_;
  const int64_t tokens_;
  const int64_t learning_;  // of them
};

}  // namespace

void ReplayForwardBackward(const StepShape& step, Meter& meter) {
  Replay(step, meter).ForwardBackward();
}

void ReplayForward(const StepShape& step, Meter& meter) { Replay(step, meter).Forward(); }

void ReplayUpdate(const StepShape& step, Meter& meter) {
  if (!step.muon) return;
  const ModelConfig& m = step.model;
  // worker/optim/muon.cc: each thread has one matrix in hand, with its copies and, of the shorter
  // side, squares.
  const auto matrix = [](int64_t rows, int64_t columns) {
    const int64_t r = std::min(rows, columns), c = std::max(rows, columns);
    return 14 * r * c + 22 * r * r;
  };
  const int64_t largest =
      std::max({matrix(m.query_width(), m.hidden_size), matrix(m.mlp_width, m.hidden_size)});
  meter.Take(kOptimiser, "Muon", step.threads * largest);
}

}  // namespace trainyard::plan

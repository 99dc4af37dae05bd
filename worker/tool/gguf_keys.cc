#include "worker/tool/gguf_keys.h"

#include <cmath>
#include <utility>

#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/gguf_rope.h"

namespace trainyard::worker {
namespace {

// What llama.cpp computes with where no key says otherwise (src/models/gemma2.cpp, gemma3.cpp).
constexpr double kGemma3LocalTheta = 10000;
constexpr int64_t kGemma2FullEvery = 2, kGemma3FullEvery = 6;
// A soft cap that no float32 number feels: a power of two, so that dividing by it and multiplying
// again is exact, and so high that the hyperbolic tangent between them is its argument.
constexpr double kNoCap = 1099511627776.0;  // 2^40

bool IsGemma2(const ModelConfig& config) { return config.model_type == "gemma2"; }
bool IsGemma3(const ModelConfig& config) { return config.model_type == "gemma3_text"; }
bool IsGemma(const ModelConfig& config) { return IsGemma2(config) || IsGemma3(config); }

// "a GGUF file cannot say ...": what a config has and the file has no place for.
template <class... Args>
Status CannotSay(fmt::format_string<Args...> format, Args&&... args) {
  return Unimplemented("a GGUF file cannot say {}",
                       fmt::format(format, std::forward<Args>(args)...));
}

// A window as long as the longest item is none.
Status CheckWindows(const ModelConfig& config) {
  if (IsGemma(config)) return OkStatus();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const int64_t window = config.attention_of(layer).window;
    if (window > 0 && window < config.max_positions)
      return CannotSay(
          "that layer {} of a {} has a sliding window; llama.cpp lets it see everything", layer,
          config.model_type);
  }
  return OkStatus();
}

Status CheckGemma(const ModelConfig& config) {
  const bool is_27b = config.layers == (IsGemma2(config) ? 46 : 62);
  const double scale =
      static_cast<double>(is_27b ? config.hidden_size / config.heads : config.head_width);
  if (config.query_scale != scale)
    return CannotSay("query_pre_attn_scalar = {}; llama.cpp takes {} for this shape",
                     config.query_scale, scale);
  if (IsGemma2(config) && !config.tie_embeddings)
    return CannotSay(
        "tie_word_embeddings = false of a gemma2; llama.cpp takes the embedding for its head");
  if (config.has_local_rope() && config.local_rope.kind != RopeKind::kDefault)
    return CannotSay(
        "that the layers with a sliding window have a rope_scaling; llama.cpp scales the others");
  return OkStatus();
}

// What llama.cpp does its own way for every file of an architecture.
Status CheckAttention(const ModelConfig& config) {
  const bool looks_elsewhere = config.is_causal() != config.family().causal;
  if (looks_elsewhere && (IsGemma(config) || !config.family().causal))
    return CannotSay("of a {} that its tokens see {}; llama.cpp computes it the other way",
                     config.model_type,
                     config.is_causal() ? "only what is before them" : "what is after them");
  if (config.scale_by_layer || (config.query_scale != 0 && !IsGemma(config)))
    return CannotSay(
        "how a {} scales its scores; llama.cpp divides them by the root of the head's width",
        config.model_type);
  return OkStatus();
}

// Tensors that llama.cpp does not look for, or wants in another shape.
Status CheckTensors(const ModelConfig& config) {
  if (config.attention_out_bias && config.family().position == PositionKind::kRope &&
      config.model_type != "llama")
    return CannotSay(
        "attention_bias = true of a {}; llama.cpp has no bias for its output projection",
        config.model_type);
  if (config.model_type == "qwen2" && config.query_width() != config.hidden_size)
    return CannotSay("head_dim = {} of a qwen2; llama.cpp takes the hidden size over the heads, {}",
                     config.head_width, config.hidden_size / config.heads);
  return OkStatus();
}

// The turns between which llama.cpp blends, and that it does so between whole dims, are its own.
Status CheckYarn(const RopeConfig& rope, int64_t head_width) {
  RopeConfig taken = rope;
  taken.truncate = true;
  const auto turns_alike = [&] {
    return RopeFrequencies<double>(taken, head_width) == RopeFrequencies<double>(rope, head_width);
  };
  if (!turns_alike())
    return CannotSay("truncate: false of a yarn; llama.cpp blends between whole dims");
  taken.beta_fast = 32, taken.beta_slow = 1;
  if (turns_alike()) return OkStatus();
  return CannotSay("beta_fast = {} and beta_slow = {} of a yarn; llama.cpp takes 32 and 1",
                   rope.beta_fast, rope.beta_slow);
}

// What llama.cpp multiplies yarn's cosines and sines with where no key says otherwise.
double YarnTemperature(double factor) { return factor <= 1 ? 1 : 0.1 * std::log(factor) + 1; }

Status CheckRope(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  if (rope.kind == RopeKind::kLlama3 && *GgufArchitectureOf(config.model_type) != "llama")
    return CannotSay("rope_type llama3 of a {}; llama.cpp reads its factors for a llama alone",
                     config.model_type);
  if (rope.kind != RopeKind::kYarn) return OkStatus();
  // Its layers with a sliding window would be multiplied too.
  if (IsGemma3(config) &&
      static_cast<float>(rope.attention_factor) != static_cast<float>(YarnTemperature(rope.factor)))
    return CannotSay("attention_factor = {} of a gemma3; llama.cpp takes {} for this factor",
                     rope.attention_factor, YarnTemperature(rope.factor));
  return CheckYarn(rope, config.head_width);
}

class KeyList {
 public:
  explicit KeyList(std::string architecture) : architecture_(std::move(architecture)) {
    keys_.push_back({"general.architecture", GgufString(architecture_)});
  }
  void Int(std::string_view key, int64_t value) {
    keys_.push_back({Whole(key), GgufUint32(static_cast<uint32_t>(value))});
  }
  void Real(std::string_view key, double value) {
    keys_.push_back({Whole(key), GgufFloat32(static_cast<float>(value))});
  }
  void Text(std::string_view key, std::string value) {
    keys_.push_back({Whole(key), GgufString(std::move(value))});
  }
  void Bool(std::string_view key, bool value) { keys_.push_back({Whole(key), GgufBool(value)}); }
  void Bools(std::string_view key, const std::vector<bool>& values) {
    keys_.push_back({Whole(key), GgufBools(values)});
  }
  // Without it llama.cpp does not load a BERT.
  void TokenTypes(int64_t count) {
    keys_.push_back({kGgufTokenTypeCount, GgufUint32(static_cast<uint32_t>(count))});
  }
  GgufWriter::Keys Take() { return std::move(keys_); }

 private:
  std::string Whole(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }
  const std::string architecture_;
  GgufWriter::Keys keys_;
};

void AddRope(const RopeConfig& rope, KeyList* keys) {
  keys->Real("rope.freq_base", rope.theta);
  switch (rope.kind) {
    case RopeKind::kDefault:
    case RopeKind::kDynamic:  // differs only past max_positions
    case RopeKind::kLlama3:   // by a tensor
      return;
    case RopeKind::kLinear:
      keys->Text("rope.scaling.type", "linear");
      keys->Real("rope.scaling.factor", rope.factor);
      return;
    case RopeKind::kYarn:
      keys->Text("rope.scaling.type", "yarn");
      keys->Real("rope.scaling.factor", rope.factor);
      keys->Int("rope.scaling.original_context_length", rope.original_max_positions);
      const double more = rope.attention_factor / YarnTemperature(rope.factor);
      if (static_cast<float>(more) != 1) keys->Real("rope.scaling.attn_factor", more);
      return;
  }
}

// Which layers slide is told one by one where it is not the usual ones. A Gemma 3 of which none
// does has no window; a Gemma 2 must have one, so it gets one as long as its items.
void AddWindows(const ModelConfig& config, KeyList* keys) {
  const int64_t full_every = IsGemma2(config) ? kGemma2FullEvery : kGemma3FullEvery;
  std::vector<bool> sliding;
  bool is_usual = true;
  int64_t window = 0;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const LayerAttention attention = config.attention_of(layer);
    const bool slides = attention.window > 0 || attention.is_local;
    sliding.push_back(slides);
    is_usual = is_usual && slides == ((layer + 1) % full_every != 0);
    // A local layer without a window has its own rotary embedding still.
    if (slides) window = attention.window > 0 ? attention.window : config.max_positions;
  }
  if (window == 0 && IsGemma2(config)) window = config.max_positions, is_usual = true;
  if (window == 0) return;
  keys->Int("attention.sliding_window", window);
  if (!is_usual) keys->Bools("attention.sliding_window_pattern", sliding);
}

void AddGemma(const ModelConfig& config, KeyList* keys) {
  AddWindows(config, keys);
  const auto cap = [&](double value) { return value > 0 ? value : kNoCap; };
  if (IsGemma2(config)) {
    keys->Real("attn_logit_softcapping", cap(config.attention_softcap));
    keys->Real("final_logit_softcapping", cap(config.logit_softcap));
    return;
  }
  if (config.logit_softcap > 0) keys->Real("final_logit_softcapping", config.logit_softcap);
  if (config.has_local_rope() && config.local_rope.theta != kGemma3LocalTheta)
    keys->Real("rope.freq_base_swa", config.local_rope.theta);
}

Status AddDecoder(const ModelConfig& config, KeyList* keys) {
  RETURN_IF_ERROR(CheckWindows(config));
  RETURN_IF_ERROR(CheckTensors(config));
  RETURN_IF_ERROR(CheckRope(config));
  if (IsGemma(config)) RETURN_IF_ERROR(CheckGemma(config));
  keys->Int("attention.head_count_kv", config.kv_heads);
  keys->Int("attention.key_length", config.head_width);
  keys->Int("attention.value_length", config.head_width);
  keys->Real("attention.layer_norm_rms_epsilon", config.norm_epsilon);
  keys->Int("rope.dimension_count", config.head_width);
  AddRope(config.rope, keys);
  if (IsGemma(config)) AddGemma(config, keys);
  return OkStatus();
}

}  // namespace

StatusOr<GgufWriter::Keys> GgufModelKeys(const ModelConfig& config) {
  const std::optional<std::string> architecture = GgufArchitectureOf(config.model_type);
  if (!architecture.has_value())
    return Unimplemented("{} is not written to GGUF files; the architectures that are: {}",
                         config.model_type, NamesOfGgufArchitectures());
  RETURN_IF_ERROR(CheckAttention(config));
  KeyList keys(*architecture);
  keys.Int("context_length", config.max_positions);
  keys.Int("embedding_length", config.hidden_size);
  keys.Int("block_count", config.layers);
  keys.Int("feed_forward_length", config.mlp_width);
  keys.Int("attention.head_count", config.heads);
  keys.Int("vocab_size", config.vocab_size);
  if (config.family().position == PositionKind::kRope) {
    RETURN_IF_ERROR(AddDecoder(config, &keys));
  } else {
    keys.Real("attention.layer_norm_epsilon", config.norm_epsilon);
  }
  if (!config.is_causal()) keys.Bool("attention.causal", false);
  if (!config.family().causal) keys.Int("pooling_type", 0);  // none: a vector for every token
  if (config.type_vocab_size > 0) keys.TokenTypes(config.type_vocab_size);
  return keys.Take();
}

std::vector<float> GgufRopeFactors(const ModelConfig& config) {
  std::vector<float> factors;
  if (config.rope.kind != RopeKind::kLlama3) return factors;
  const Llama3Rope rope{.factor = config.rope.factor,
                        .low_freq_factor = config.rope.low_freq_factor,
                        .high_freq_factor = config.rope.high_freq_factor,
                        .original_max_positions = config.rope.original_max_positions};
  for (const double factor : Llama3RopeFactors(rope, config.rope.theta, config.head_width))
    factors.push_back(static_cast<float>(factor));
  return factors;
}

}  // namespace trainyard::worker

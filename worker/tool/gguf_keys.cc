#include "worker/tool/gguf_keys.h"

#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/gguf_rope.h"

namespace trainyard::worker {
namespace {

// llama.cpp has no key for these and computes with its own (src/llama-model.cpp).
constexpr double kGemma3LocalTheta = 10000;
constexpr int64_t kGemma2FullEvery = 2, kGemma3FullEvery = 6;

Status CheckWindows(const ModelConfig& config) {
  const bool is_gemma2 = config.model_type == "gemma2";
  const int64_t full_every = is_gemma2                            ? kGemma2FullEvery
                             : config.model_type == "gemma3_text" ? kGemma3FullEvery
                                                                  : 0;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const bool slides = config.attention_of(layer).window > 0;
    const bool should = full_every > 0 && (layer + 1) % full_every != 0;
    if (slides != should)
      return Unimplemented(
          "a GGUF file cannot say that layer {} of a {} {} a sliding window; llama.cpp computes it "
          "the other way",
          layer, config.model_type, slides ? "has" : "has no");
  }
  return OkStatus();
}

Status CheckGemma(const ModelConfig& config) {
  const bool is_27b = config.layers == (config.model_type == "gemma2" ? 46 : 62);
  const double scale =
      static_cast<double>(is_27b ? config.hidden_size / config.heads : config.head_width);
  if (config.query_scale != scale)
    return Unimplemented(
        "a GGUF file cannot say query_pre_attn_scalar = {}; llama.cpp takes {} for this shape",
        config.query_scale, scale);
  if (config.model_type == "gemma3_text" && config.local_rope.theta != kGemma3LocalTheta)
    return Unimplemented("a GGUF file cannot say rope_local_base_freq = {}; llama.cpp takes {}",
                         config.local_rope.theta, kGemma3LocalTheta);
  return OkStatus();
}

// What llama.cpp does its own way for every file of an architecture.
Status CheckAttention(const ModelConfig& config) {
  if (config.is_causal() != config.family().causal)
    return Unimplemented(
        "a GGUF file cannot say of a {} that its tokens see {}; llama.cpp computes it the other "
        "way",
        config.model_type, config.is_causal() ? "only what is before them" : "what is after them");
  const bool is_gemma = config.family().norm_offset != 0;
  if (config.scale_by_layer || (config.query_scale != 0 && !is_gemma))
    return Unimplemented(
        "a GGUF file cannot say how a {} scales its scores; llama.cpp divides them by the root of "
        "the head's width",
        config.model_type);
  return OkStatus();
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
  GgufWriter::Keys Take() { return std::move(keys_); }

 private:
  std::string Whole(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }
  const std::string architecture_;
  GgufWriter::Keys keys_;
};

Status AddRope(const RopeConfig& rope, KeyList* keys) {
  keys->Real("rope.freq_base", rope.theta);
  switch (rope.kind) {
    case RopeKind::kDefault:
    case RopeKind::kDynamic:  // differs only past max_positions
    case RopeKind::kLlama3:   // by a tensor
      return OkStatus();
    case RopeKind::kLinear:
      keys->Text("rope.scaling.type", "linear");
      keys->Real("rope.scaling.factor", rope.factor);
      return OkStatus();
    case RopeKind::kYarn:
      keys->Text("rope.scaling.type", "yarn");
      keys->Real("rope.scaling.factor", rope.factor);
      keys->Int("rope.scaling.original_context_length", rope.original_max_positions);
      keys->Real("rope.scaling.yarn_beta_fast", rope.beta_fast);
      keys->Real("rope.scaling.yarn_beta_slow", rope.beta_slow);
      return OkStatus();
  }
  return OkStatus();
}

Status AddDecoder(const ModelConfig& config, KeyList* keys) {
  const bool is_gemma = config.model_type.starts_with("gemma");
  // Mistral's window, where it has one, is over all layers, which llama.cpp's "llama" does not
  // know.
  RETURN_IF_ERROR(CheckWindows(config));
  if (is_gemma) RETURN_IF_ERROR(CheckGemma(config));
  keys->Int("attention.head_count_kv", config.kv_heads);
  keys->Int("attention.key_length", config.head_width);
  keys->Int("attention.value_length", config.head_width);
  keys->Real("attention.layer_norm_rms_epsilon", config.norm_epsilon);
  keys->Int("rope.dimension_count", config.head_width);
  RETURN_IF_ERROR(AddRope(config.rope, keys));
  if (is_gemma) keys->Int("attention.sliding_window", config.attention_of(0).window);
  if (config.attention_softcap > 0) keys->Real("attn_logit_softcapping", config.attention_softcap);
  if (config.logit_softcap > 0) keys->Real("final_logit_softcapping", config.logit_softcap);
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
  if (!config.family().causal) {
    keys.Bool("attention.causal", false);
    keys.Int("pooling_type", 0);  // none: a vector for every token
  }
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

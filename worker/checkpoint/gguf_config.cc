#include "worker/checkpoint/gguf_config.h"

#include <utility>
#include <vector>

#include "worker/checkpoint/gguf_fields.h"
#include "worker/checkpoint/gguf_key_rules.h"
#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/gguf_rope_config.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

// A soft cap so high that no number feels it in float32: what stands for none, where llama.cpp
// always has one (worker/tool/gguf_keys.cc writes it).
constexpr double kNoCap = 1099511627776.0;  // 2^40
constexpr char kFull[] = "full_attention", kSliding[] = "sliding_attention";

class ConfigMaker {
 public:
  ConfigMaker(const GgufFile& file, const GgufFields& keys)
      : file_(file), keys_(keys), architecture_(keys.architecture()) {}

  StatusOr<Json> Make();

 private:
  StatusOr<int64_t> RowsOf(std::string_view tensor) const;
  Status AddIds();
  Status AddSizes();
  Status AddDecoder();
  Status AddRope(int64_t head_width);
  Status AddGemma(int64_t head_width);
  Status AddWindows();
  StatusOr<std::vector<bool>> SlidingLayers(int64_t every);
  Status AddCap(const char* key, double otherwise);
  Status AddCausality();
  Status AddGpt2();
  Status AddBert();
  bool IsGemma() const { return architecture_.starts_with("gemma"); }

  const GgufFile& file_;
  const GgufFields& keys_;
  const std::string& architecture_;
  int64_t hidden_size_ = 0, layers_ = 0, heads_ = 0, mlp_width_ = 0;
  Json config_;
};

StatusOr<int64_t> ConfigMaker::RowsOf(std::string_view tensor) const {
  const GgufTensor* found = file_.Find(tensor);
  if (found == nullptr) return InvalidArgument("there is no tensor {:?}", tensor);
  if (found->shape.size() != 2)
    return InvalidArgument("tensor {:?} has {} dims, not 2", tensor, found->shape.size());
  return found->shape[0];
}

Status ConfigMaker::AddSizes() {
  ASSIGN_OR_RETURN(hidden_size_, keys_.Int("embedding_length"));
  ASSIGN_OR_RETURN(layers_, keys_.Int("block_count"));
  ASSIGN_OR_RETURN(heads_, keys_.IntOfLayers("attention.head_count", layers_));
  ASSIGN_OR_RETURN(mlp_width_, keys_.IntOfLayers("feed_forward_length", layers_));
  ASSIGN_OR_RETURN(config_["vocab_size"], RowsOf("token_embd.weight"));
  if (hidden_size_ < 1 || layers_ < 1 || heads_ < 1 || mlp_width_ < 1)
    return InvalidArgument(
        "{0}.embedding_length, {0}.block_count, {0}.attention.head_count and "
        "{0}.feed_forward_length must be above 0",
        architecture_);
  // What follows makes lists of so many.
  if (layers_ > std::ssize(file_.tensors()))
    return InvalidArgument("{} is {}, but the file has {} tensors", keys_.Whole("block_count"),
                           layers_, file_.tensors().size());
  return OkStatus();
}

Status ConfigMaker::AddIds() {
  for (const auto& [key, name] :
       {std::pair{"bos_token_id", "bos_token_id"}, std::pair{"eos_token_id", "eos_token_id"},
        std::pair{"padding_token_id", "pad_token_id"}}) {
    const std::string whole = fmt::format("tokenizer.ggml.{}", key);
    config_[name] = nullptr;  // what is left out of a config.json is transformers' default
    if (!file_.metadata().Has(whole)) continue;
    ASSIGN_OR_RETURN(config_[name], file_.metadata().Integer(whole));
  }
  return OkStatus();
}

Status ConfigMaker::AddRope(int64_t head_width) {
  ASSIGN_OR_RETURN(const int64_t turned, keys_.Int("rope.dimension_count", head_width));
  if (turned != head_width)
    return Unimplemented("{}.rope.dimension_count is {} of heads {} wide; all must be turned",
                         architecture_, turned, head_width);
  ASSIGN_OR_RETURN(const double theta, keys_.Real("rope.freq_base", 1e4));
  config_["rope_theta"] = theta;
  ASSIGN_OR_RETURN(const Json scaling, RopeScalingFromGguf(file_, keys_, theta, head_width));
  if (!scaling.empty()) config_["rope_scaling"] = scaling;
  // As transformers 5 has it; Gemma 3 turns two ways, which its older keys tell both versions.
  if (architecture_ == "gemma3") {
    if (scaling.contains("attention_factor"))
      return Unimplemented("{} holds for the local layers too, which no config says",
                           keys_.Whole("rope.scaling.attn_factor"));
    return OkStatus();
  }
  Json parameters = scaling.empty() ? Json{{"rope_type", "default"}} : scaling;
  parameters["rope_theta"] = theta;
  config_["rope_parameters"] = parameters;
  return OkStatus();
}

// Which layers slide: a list of flags, or all but the last of each `every`.
StatusOr<std::vector<bool>> ConfigMaker::SlidingLayers(int64_t every) {
  constexpr char kKey[] = "attention.sliding_window_pattern";
  std::vector<bool> sliding;
  const GgufValue* value = keys_.Find(kKey);
  if (value != nullptr && value->type == GgufValueType::kList) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> flags,
                     file_.metadata().Integers(keys_.Whole(kKey)));
    if (std::ssize(flags) != layers_)
      return InvalidArgument("{} has {} flags for {} layers", keys_.Whole(kKey), flags.size(),
                             layers_);
    for (const int64_t flag : flags) sliding.push_back(flag != 0);
    return sliding;
  }
  ASSIGN_OR_RETURN(every, keys_.Int(kKey, every));
  if (every < 0) return InvalidArgument("{} must not be below 0", keys_.Whole(kKey));
  for (int64_t layer = 0; layer < layers_; ++layer)
    sliding.push_back(every == 0 || (layer + 1) % every != 0);
  return sliding;
}

// Gemma 3 slides where its window is said and not 0; Gemma 2 does in any case.
Status ConfigMaker::AddWindows() {
  const bool is_gemma3 = architecture_ == "gemma3";
  ASSIGN_OR_RETURN(const int64_t window,
                   keys_.Int("attention.sliding_window", is_gemma3 ? 0 : 4096));
  if (window < 0 || (window == 0 && !is_gemma3))
    return InvalidArgument("{} must be above 0, got {}", keys_.Whole("attention.sliding_window"),
                           window);
  std::vector<bool> sliding(static_cast<size_t>(layers_));
  if (window > 0) {
    ASSIGN_OR_RETURN(sliding, SlidingLayers(is_gemma3 ? 6 : 2));
    config_["sliding_window"] = window;
  }
  Json types = Json::array();
  for (const bool slides : sliding) types.push_back(slides ? kSliding : kFull);
  config_["layer_types"] = std::move(types);
  return OkStatus();
}

Status ConfigMaker::AddCap(const char* key, double otherwise) {
  ASSIGN_OR_RETURN(const double cap, keys_.Real(key, otherwise));
  config_[key] = cap > 0 && cap < kNoCap ? Json(cap) : Json(nullptr);
  return OkStatus();
}

// What llama.cpp computes for a file of these architectures, where no key says it: scores of the
// largest models are scaled by the width over the heads, those of the others by a head's width.
Status ConfigMaker::AddGemma(int64_t head_width) {
  const bool is_27b = layers_ == (architecture_ == "gemma2" ? 46 : 62);
  config_["query_pre_attn_scalar"] = is_27b ? hidden_size_ / heads_ : head_width;
  config_["hidden_activation"] = "gelu_pytorch_tanh";
  RETURN_IF_ERROR(AddWindows());
  if (architecture_ == "gemma3") {
    ASSIGN_OR_RETURN(config_["rope_local_base_freq"], keys_.Real("rope.freq_base_swa", 1e4));
    return AddCap("final_logit_softcapping", 0);
  }
  RETURN_IF_ERROR(AddCap("attn_logit_softcapping", 50));
  return AddCap("final_logit_softcapping", 30);
}

// Decoders look back where no key says otherwise, BERT both ways.
Status ConfigMaker::AddCausality() {
  const bool is_bert = architecture_ == "bert";
  ASSIGN_OR_RETURN(const bool is_causal, keys_.Bool("attention.causal", !is_bert));
  if (is_causal == !is_bert) return OkStatus();
  if (is_bert || IsGemma())
    return Unimplemented("{} is {}, which is not supported for this architecture",
                         keys_.Whole("attention.causal"), is_causal);
  config_["is_causal"] = false;
  return OkStatus();
}

Status ConfigMaker::AddDecoder() {
  config_["hidden_size"] = hidden_size_;
  config_["intermediate_size"] = mlp_width_;
  config_["num_hidden_layers"] = layers_;
  config_["num_attention_heads"] = heads_;
  const bool shares_keys = keys_.Has("attention.head_count_kv");
  ASSIGN_OR_RETURN(
      config_["num_key_value_heads"],
      keys_.IntOfLayers(shares_keys ? "attention.head_count_kv" : "attention.head_count", layers_));
  ASSIGN_OR_RETURN(const int64_t head_width,
                   keys_.Int("attention.key_length", hidden_size_ / heads_));
  ASSIGN_OR_RETURN(const int64_t value_width, keys_.Int("attention.value_length", head_width));
  if (value_width != head_width)
    return Unimplemented("{}.attention.value_length is {}, key_length {}; they must agree",
                         architecture_, value_width, head_width);
  config_["head_dim"] = head_width;
  ASSIGN_OR_RETURN(config_["max_position_embeddings"], keys_.Int("context_length"));
  ASSIGN_OR_RETURN(config_["rms_norm_eps"], keys_.Real("attention.layer_norm_rms_epsilon"));
  if (IsGemma()) {
    RETURN_IF_ERROR(AddGemma(head_width));
  } else {
    config_["hidden_act"] = "silu";
  }
  if (architecture_ == "qwen2" || architecture_ == "qwen3") config_["use_sliding_window"] = false;
  if (architecture_ != "qwen2")
    config_["attention_bias"] = file_.Find("blk.0.attn_q.bias") != nullptr;
  if (architecture_ == "llama") config_["mlp_bias"] = file_.Find("blk.0.ffn_up.bias") != nullptr;
  return AddRope(head_width);
}

Status ConfigMaker::AddGpt2() {
  config_["n_embd"] = hidden_size_;
  config_["n_layer"] = layers_;
  config_["n_head"] = heads_;
  config_["n_inner"] = mlp_width_;
  config_["activation_function"] = "gelu_new";
  ASSIGN_OR_RETURN(config_["n_positions"], RowsOf("position_embd.weight"));
  ASSIGN_OR_RETURN(config_["layer_norm_epsilon"], keys_.Real("attention.layer_norm_epsilon"));
  return OkStatus();
}

Status ConfigMaker::AddBert() {
  config_["hidden_size"] = hidden_size_;
  config_["intermediate_size"] = mlp_width_;
  config_["num_hidden_layers"] = layers_;
  config_["num_attention_heads"] = heads_;
  config_["hidden_act"] = "gelu";
  ASSIGN_OR_RETURN(config_["max_position_embeddings"], RowsOf("position_embd.weight"));
  ASSIGN_OR_RETURN(config_["type_vocab_size"], RowsOf("token_types.weight"));
  ASSIGN_OR_RETURN(config_["layer_norm_eps"], keys_.Real("attention.layer_norm_epsilon"));
  return OkStatus();
}

// transformers' class for the tensors that such a file holds.
std::string ClassOf(const std::string& architecture) {
  if (architecture == "llama") return "LlamaForCausalLM";
  if (architecture == "qwen2") return "Qwen2ForCausalLM";
  if (architecture == "qwen3") return "Qwen3ForCausalLM";
  if (architecture == "gemma2") return "Gemma2ForCausalLM";
  if (architecture == "gemma3") return "Gemma3ForCausalLM";
  return architecture == "gpt2" ? "GPT2LMHeadModel" : "BertModel";
}

StatusOr<Json> ConfigMaker::Make() {
  config_["architectures"] = {ClassOf(architecture_)};
  config_["model_type"] = *ModelTypeOfGguf(architecture_);
  RETURN_IF_ERROR(AddSizes());
  RETURN_IF_ERROR(architecture_ == "gpt2"   ? AddGpt2()
                  : architecture_ == "bert" ? AddBert()
                                            : AddDecoder());
  RETURN_IF_ERROR(AddCausality());
  config_["tie_word_embeddings"] = file_.Find("output.weight") == nullptr;
  RETURN_IF_ERROR(AddIds());
  return std::move(config_);
}

}  // namespace

StatusOr<GgufConfig> ConfigFromGguf(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string architecture, file.metadata().Text("general.architecture"));
  if (!ModelTypeOfGguf(architecture).has_value())
    return Unimplemented("general.architecture is {:?}; those that are read are {}", architecture,
                         NamesOfGgufArchitectures());
  const GgufFields fields(file.metadata(), architecture);
  GgufConfig made;
  ASSIGN_OR_RETURN(made.notes, CheckGgufKeys(file.metadata(), fields));
  ASSIGN_OR_RETURN(made.config, ConfigMaker(file, fields).Make());
  return made;
}

}  // namespace trainyard::worker

#include "worker/checkpoint/gguf_config.h"

#include <cmath>
#include <cstdlib>

#include "worker/checkpoint/gguf_names.h"
#include "worker/checkpoint/gguf_rope.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

// The metadata under one architecture's prefix.
class Keys {
 public:
  Keys(const GgufMetadata& metadata, std::string prefix)
      : metadata_(metadata), prefix_(std::move(prefix)) {}

  bool Has(std::string_view key) const { return metadata_.Has(Whole(key)); }
  StatusOr<int64_t> Int(std::string_view key) const { return metadata_.Integer(Whole(key)); }
  StatusOr<int64_t> Int(std::string_view key, int64_t otherwise) const {
    return Has(key) ? Int(key) : StatusOr<int64_t>(otherwise);
  }
  // A float32 stands for the shortest decimal that rounds to it: 1e-05, not 9.999999747378752e-06.
  StatusOr<double> Real(std::string_view key) const {
    ASSIGN_OR_RETURN(const double value, metadata_.Real(Whole(key)));
    if (metadata_.Find(Whole(key))->type != GgufValueType::kFloat32) return value;
    return std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
  }
  StatusOr<double> Real(std::string_view key, double otherwise) const {
    return Has(key) ? Real(key) : StatusOr<double>(otherwise);
  }
  StatusOr<std::string> Text(std::string_view key, std::string otherwise) const {
    return Has(key) ? metadata_.Text(Whole(key)) : StatusOr<std::string>(std::move(otherwise));
  }

 private:
  std::string Whole(std::string_view key) const { return fmt::format("{}.{}", prefix_, key); }
  const GgufMetadata& metadata_;
  const std::string prefix_;
};

class ConfigMaker {
 public:
  ConfigMaker(const GgufFile& file, const std::string& architecture)
      : file_(file), keys_(file.metadata(), architecture), architecture_(architecture) {}

  StatusOr<Json> Make();

 private:
  StatusOr<int64_t> RowsOf(std::string_view tensor) const;
  Status AddIds();
  Status AddSizes();
  Status AddDecoder();
  Status AddRope(int64_t head_width);
  Status AddScaling(double theta, int64_t head_width);
  Status AddYarn(Json* scaling);
  Status AddGemma(int64_t head_width);
  Status AddGpt2();
  Status AddBert();
  bool IsGemma() const { return architecture_.starts_with("gemma"); }

  const GgufFile& file_;
  const Keys keys_;
  const std::string architecture_;
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
  ASSIGN_OR_RETURN(heads_, keys_.Int("attention.head_count"));
  ASSIGN_OR_RETURN(mlp_width_, keys_.Int("feed_forward_length"));
  ASSIGN_OR_RETURN(config_["vocab_size"], RowsOf("token_embd.weight"));
  if (hidden_size_ < 1 || layers_ < 1 || heads_ < 1 || mlp_width_ < 1)
    return InvalidArgument(
        "{0}.embedding_length, {0}.block_count, {0}.attention.head_count and "
        "{0}.feed_forward_length must be above 0",
        architecture_);
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

// Peng et al. 2023, arXiv:2309.00071.
Status ConfigMaker::AddYarn(Json* scaling) {
  ASSIGN_OR_RETURN((*scaling)["original_max_position_embeddings"],
                   keys_.Int("rope.scaling.original_context_length"));
  for (const auto& [key, name] : {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"},
                                  std::pair{"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (!keys_.Has(key)) continue;
    ASSIGN_OR_RETURN((*scaling)[name], keys_.Real(key));
  }
  return OkStatus();
}

Status ConfigMaker::AddScaling(double theta, int64_t head_width) {
  Json scaling;
  ASSIGN_OR_RETURN(const std::string type, keys_.Text("rope.scaling.type", "none"));
  if (type == "linear" || type == "yarn") {
    scaling["rope_type"] = type;
    ASSIGN_OR_RETURN(scaling["factor"], keys_.Real("rope.scaling.factor"));
    if (type == "yarn") RETURN_IF_ERROR(AddYarn(&scaling));
  } else if (type != "none") {
    return Unimplemented("{}.rope.scaling.type is {:?}; none, linear and yarn are read",
                         architecture_, type);
  }
  if (const GgufTensor* tensor = file_.Find("rope_freqs.weight"); tensor != nullptr) {
    if (!scaling.empty() || tensor->count != head_width / 2)
      return InvalidArgument(
          "tensor \"rope_freqs.weight\" has {} values beside a scaling of type {:?}; {} values and "
          "type none belong together",
          tensor->count, type, head_width / 2);
    std::vector<float> factors(static_cast<size_t>(tensor->count));
    RETURN_IF_ERROR(file_.ReadFloats(*tensor, 0, factors));
    ASSIGN_OR_RETURN(const Llama3Rope rope, FitLlama3Rope(factors, theta));
    scaling = {{"rope_type", "llama3"},
               {"factor", rope.factor},
               {"low_freq_factor", rope.low_freq_factor},
               {"high_freq_factor", rope.high_freq_factor},
               {"original_max_position_embeddings", rope.original_max_positions}};
  }
  if (!scaling.empty()) config_["rope_scaling"] = scaling;
  // As transformers 5 has it; Gemma 3 turns two ways, which its older keys tell both versions.
  if (architecture_ == "gemma3") return OkStatus();
  Json parameters = scaling.empty() ? Json{{"rope_type", "default"}} : scaling;
  parameters["rope_theta"] = theta;
  config_["rope_parameters"] = parameters;
  return OkStatus();
}

Status ConfigMaker::AddRope(int64_t head_width) {
  ASSIGN_OR_RETURN(const int64_t turned, keys_.Int("rope.dimension_count", head_width));
  if (turned != head_width)
    return Unimplemented("{}.rope.dimension_count is {} of heads {} wide; all must be turned",
                         architecture_, turned, head_width);
  ASSIGN_OR_RETURN(const double theta,
                   keys_.Real("rope.freq_base", architecture_ == "gemma3" ? 1e6 : 1e4));
  config_["rope_theta"] = theta;
  return AddScaling(theta, head_width);
}

// What llama.cpp computes for a file of these architectures, where no key says it: scores of the
// largest models are scaled by the width over the heads, those of the others by a head's width.
Status ConfigMaker::AddGemma(int64_t head_width) {
  const bool is_27b = layers_ == (architecture_ == "gemma2" ? 46 : 62);
  config_["query_pre_attn_scalar"] = is_27b ? hidden_size_ / heads_ : head_width;
  config_["hidden_activation"] = "gelu_pytorch_tanh";
  if (architecture_ == "gemma3") {
    config_["sliding_window_pattern"] = 6;
    config_["rope_local_base_freq"] = 10000.0;
    return OkStatus();
  }
  ASSIGN_OR_RETURN(config_["attn_logit_softcapping"], keys_.Real("attn_logit_softcapping", 50.0));
  ASSIGN_OR_RETURN(config_["final_logit_softcapping"], keys_.Real("final_logit_softcapping", 30.0));
  return OkStatus();
}

Status ConfigMaker::AddDecoder() {
  config_["hidden_size"] = hidden_size_;
  config_["intermediate_size"] = mlp_width_;
  config_["num_hidden_layers"] = layers_;
  config_["num_attention_heads"] = heads_;
  ASSIGN_OR_RETURN(config_["num_key_value_heads"], keys_.Int("attention.head_count_kv", heads_));
  const bool has_key_length = keys_.Has("attention.key_length");
  ASSIGN_OR_RETURN(const int64_t head_width,
                   keys_.Int(has_key_length ? "attention.key_length" : "rope.dimension_count",
                             hidden_size_ / heads_));
  ASSIGN_OR_RETURN(const int64_t value_width, keys_.Int("attention.value_length", head_width));
  if (value_width != head_width)
    return Unimplemented("{}.attention.value_length is {}, key_length {}; they must agree",
                         architecture_, value_width, head_width);
  config_["head_dim"] = head_width;
  ASSIGN_OR_RETURN(config_["max_position_embeddings"], keys_.Int("context_length"));
  ASSIGN_OR_RETURN(config_["rms_norm_eps"], keys_.Real("attention.layer_norm_rms_epsilon"));
  if (keys_.Has("attention.sliding_window")) {
    ASSIGN_OR_RETURN(config_["sliding_window"], keys_.Int("attention.sliding_window"));
  }
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
  config_["tie_word_embeddings"] = file_.Find("output.weight") == nullptr;
  RETURN_IF_ERROR(AddIds());
  return std::move(config_);
}

}  // namespace

StatusOr<Json> ConfigFromGguf(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string architecture, file.metadata().Text("general.architecture"));
  if (!ModelTypeOfGguf(architecture).has_value())
    return Unimplemented("general.architecture is {:?}; those that are read are {}", architecture,
                         NamesOfGgufArchitectures());
  return ConfigMaker(file, architecture).Make();
}

}  // namespace trainyard::worker

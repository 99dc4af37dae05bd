#include "common/job_spec/presets.h"

#include "common/job_spec/fields.h"
#include "common/job_spec/local_model.h"

namespace trainyard {
namespace {

std::string Text(int64_t value) { return fmt::format("{}", value); }

// Llama (Touvron et al. 2023, arXiv:2302.13971): the inner width of the gated MLP is 8/3 of the
// outer one, rounded up to a multiple of 32, so that it has as many weights as a plain one of 4x.
Preset Llama(std::string name, std::string doc, int64_t layers, int64_t width, int64_t heads) {
  const int64_t inner = (8 * width / 3 + 31) / 32 * 32;
  return {.name = std::move(name),
          .doc = std::move(doc),
          .config = {{"model_type", "llama"},
                     {"hidden_size", Text(width)},
                     {"num_hidden_layers", Text(layers)},
                     {"num_attention_heads", Text(heads)},
                     {"num_key_value_heads", Text(heads)},
                     {"intermediate_size", Text(inner)},
                     {"max_position_embeddings", "2048"},
                     {"hidden_act", "silu"},
                     {"rms_norm_eps", "1e-05"},
                     {"rope_theta", "10000.0"},
                     {"initializer_range", "0.02"},
                     {"tie_word_embeddings", "true"}}};
}

// GPT-2 (Radford et al. 2019); dropout is off, as nanoGPT and llm.c pretrain it.
Preset Gpt2(std::string name, std::string doc, int64_t layers, int64_t width, int64_t heads) {
  return {.name = std::move(name),
          .doc = std::move(doc),
          .config = {{"model_type", "gpt2"},
                     {"n_embd", Text(width)},
                     {"n_layer", Text(layers)},
                     {"n_head", Text(heads)},
                     {"n_positions", "1024"},
                     {"activation_function", "gelu_new"},
                     {"layer_norm_epsilon", "1e-05"},
                     {"initializer_range", "0.02"},
                     {"resid_pdrop", "0.0"},
                     {"embd_pdrop", "0.0"},
                     {"attn_pdrop", "0.0"},
                     {"tie_word_embeddings", "true"}}};
}

// BERT (Devlin et al. 2018, arXiv:1810.04805) without dropout.
Preset Bert(std::string name, std::string doc, int64_t layers, int64_t width, int64_t heads) {
  return {.name = std::move(name),
          .doc = std::move(doc),
          .config = {{"model_type", "bert"},
                     {"hidden_size", Text(width)},
                     {"num_hidden_layers", Text(layers)},
                     {"num_attention_heads", Text(heads)},
                     {"intermediate_size", Text(4 * width)},
                     {"max_position_embeddings", "512"},
                     {"type_vocab_size", "2"},
                     {"hidden_act", "gelu"},
                     {"layer_norm_eps", "1e-12"},
                     {"initializer_range", "0.02"},
                     {"hidden_dropout_prob", "0.0"},
                     {"attention_probs_dropout_prob", "0.0"},
                     {"tie_word_embeddings", "true"}}};
}

}  // namespace

const std::vector<Preset>& ModelPresets() {
  static const std::vector<Preset> presets = {
      Llama("llama-nano", "4 layers, 128 wide: 1M weights, minutes on two cores", 4, 128, 4),
      Llama("llama-15m", "6 layers, 288 wide", 6, 288, 6),
      Llama("llama-42m", "8 layers, 512 wide", 8, 512, 8),
      Llama("llama-110m", "12 layers, 768 wide", 12, 768, 12),
      Gpt2("gpt2-nano", "4 layers, 128 wide", 4, 128, 4),
      Gpt2("gpt2", "12 layers, 768 wide: 124M weights", 12, 768, 12),
      Gpt2("gpt2-medium", "24 layers, 1024 wide: 355M weights", 24, 1024, 16),
      Bert("bert-nano", "4 layers, 128 wide; for objective masked", 4, 128, 4),
      Bert("bert-base", "12 layers, 768 wide: 110M weights; for objective masked", 12, 768, 12),
  };
  return presets;
}

StatusOr<const Preset*> FindPreset(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : ModelPresets()) {
    if (preset.name == name) return &preset;
    names.push_back(preset.name);
  }
  if (LooksLikeHubName(name))
    return InvalidArgument(
        "{} is no preset; a model of the Hugging Face Hub is downloaded first (`hf "
        "download {} --local-dir model`) and given as model.from: model",
        name, name);
  const std::string near = NearestName(name, names);
  return InvalidArgument("no preset is called \"{}\"; {}", name,
                         near.empty() ? fmt::format("there are {}", fmt::join(names, ", "))
                                      : fmt::format("did you mean {}?", near));
}

}  // namespace trainyard

#include "common/model/family.h"

#include <fmt/format.h>

namespace trainyard {
namespace {

NameMap LlamaNames() {
  return {.base = "model.",
          .token_embedding = "model.embed_tokens.weight",
          .final_norm = "model.norm",
          .head = "lm_head.weight",
          .block = "model.layers.{}",
          .attention_norm = "input_layernorm",
          .mlp_norm = "post_attention_layernorm",
          .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
          .attention_out = "self_attn.o_proj",
          .mlp_in = {"mlp.gate_proj", "mlp.up_proj"},
          .mlp_out = "mlp.down_proj"};
}

NameMap WithQueryKeyNorms(NameMap names) {
  names.query_norm = "self_attn.q_norm";
  names.key_norm = "self_attn.k_norm";
  return names;
}

NameMap GemmaNames() {
  NameMap names = LlamaNames();
  names.attention_after_norm = "post_attention_layernorm";
  names.mlp_norm = "pre_feedforward_layernorm";
  names.mlp_after_norm = "post_feedforward_layernorm";
  return names;
}

NameMap Gpt2Names() {
  return {.base = "transformer.",
          .token_embedding = "transformer.wte.weight",
          .position_embedding = "transformer.wpe.weight",
          .final_norm = "transformer.ln_f",
          .head = "lm_head.weight",
          .block = "transformer.h.{}",
          .attention_norm = "ln_1",
          .mlp_norm = "ln_2",
          .qkv = {"attn.c_attn"},
          .attention_out = "attn.c_proj",
          .mlp_in = {"mlp.c_fc"},
          .mlp_out = "mlp.c_proj",
          .linear_is_in_out = true};
}

// BERT's and RoBERTa's, which differ in the head.
NameMap BertNames(const std::string& base) {
  return {.base = base,
          .token_embedding = base + "embeddings.word_embeddings.weight",
          .position_embedding = base + "embeddings.position_embeddings.weight",
          .type_embedding = base + "embeddings.token_type_embeddings.weight",
          .embedding_norm = base + "embeddings.LayerNorm",
          .head = "cls.predictions.decoder.weight",
          .head_dense = "cls.predictions.transform.dense",
          .head_norm = "cls.predictions.transform.LayerNorm",
          .head_bias = "cls.predictions.bias",
          .block = base + "encoder.layer.{}",
          .attention_after_norm = "attention.output.LayerNorm",
          .mlp_after_norm = "output.LayerNorm",
          .qkv = {"attention.self.query", "attention.self.key", "attention.self.value"},
          .attention_out = "attention.output.dense",
          .mlp_in = {"intermediate.dense"},
          .mlp_out = "output.dense"};
}

NameMap RobertaNames() {
  NameMap names = BertNames("roberta.");
  names.head = "lm_head.decoder.weight";
  names.head_dense = "lm_head.dense";
  names.head_norm = "lm_head.layer_norm";
  names.head_bias = "lm_head.bias";
  return names;
}

NameMap DistilBertNames() {
  return {.base = "distilbert.",
          .token_embedding = "distilbert.embeddings.word_embeddings.weight",
          .position_embedding = "distilbert.embeddings.position_embeddings.weight",
          .embedding_norm = "distilbert.embeddings.LayerNorm",
          .head = "vocab_projector.weight",
          .head_dense = "vocab_transform",
          .head_norm = "vocab_layer_norm",
          .head_bias = "vocab_projector.bias",
          .block = "distilbert.transformer.layer.{}",
          .attention_after_norm = "sa_layer_norm",
          .mlp_after_norm = "output_layer_norm",
          .qkv = {"attention.q_lin", "attention.k_lin", "attention.v_lin"},
          .attention_out = "attention.out_lin",
          .mlp_in = {"ffn.lin1"},
          .mlp_out = "ffn.lin2"};
}

// Touvron et al. 2023, arXiv:2302.13971.
Family Llama() {
  return {.model_type = "llama",
          .architecture = "LlamaForCausalLM",
          .qkv_bias = Bias::kByKey,
          .attention_out_bias = Bias::kByKey,
          .mlp_bias = Bias::kByKey,
          .activations = {"silu", "swish"},
          .defaults = {.mlp_width = 11008, .bos_id = 1, .eos_id = 2},
          .names = LlamaNames()};
}

// Jiang et al. 2023, arXiv:2310.06825.
Family Mistral() {
  Family family = Llama();
  family.model_type = "mistral";
  family.architecture = "MistralForCausalLM";
  family.qkv_bias = family.attention_out_bias = family.mlp_bias = Bias::kNone;
  family.defaults.kv_heads = 8;
  family.defaults.mlp_width = 14336;
  family.defaults.max_positions = 4096 * 32;
  family.defaults.sliding_window = 4096;
  return family;
}

// Yang et al. 2024, arXiv:2407.10671.
Family Qwen2() {
  Family family = Llama();
  family.model_type = "qwen2";
  family.architecture = "Qwen2ForCausalLM";
  family.qkv_bias = Bias::kAll;
  family.attention_out_bias = family.mlp_bias = Bias::kNone;
  family.defaults = {.vocab_size = 151936,
                     .kv_heads = 32,
                     .mlp_width = 22016,
                     .max_positions = 32768,
                     .sliding_window = 4096};
  return family;
}

// Yang et al. 2025, arXiv:2505.09388.
Family Qwen3() {
  Family family = Qwen2();
  family.model_type = "qwen3";
  family.architecture = "Qwen3ForCausalLM";
  family.qkv_bias = family.attention_out_bias = Bias::kByKey;
  family.query_key_norm = true;
  family.defaults.head_width = 128;
  family.names = WithQueryKeyNorms(LlamaNames());
  return family;
}

// Gemma Team 2024, arXiv:2408.00118.
Family Gemma2() {
  return {.model_type = "gemma2",
          .architecture = "Gemma2ForCausalLM",
          .norm_place = NormPlace::kAround,
          .norm_offset = 1,
          .mlp = MlpKind::kGeGluTanh,
          .qkv_bias = Bias::kByKey,
          .attention_out_bias = Bias::kByKey,
          .scales_embeddings = true,
          .activations = {"gelu_pytorch_tanh"},
          .keys = {.activation = "hidden_activation"},
          .defaults = {.vocab_size = 256000,
                       .hidden_size = 2304,
                       .layers = 26,
                       .heads = 8,
                       .kv_heads = 4,
                       .mlp_width = 9216,
                       .max_positions = 8192,
                       .head_width = 256,
                       .tie_embeddings = true,
                       .sliding_window = 4096,
                       .bos_id = 2,
                       .eos_id = 1,
                       .pad_id = 0},
          .names = GemmaNames()};
}

// Gemma Team 2025, arXiv:2503.19786.
Family Gemma3() {
  Family family = Gemma2();
  family.model_type = "gemma3_text";
  family.architecture = "Gemma3ForCausalLM";
  family.query_key_norm = true;
  family.defaults.vocab_size = 262208;
  family.defaults.max_positions = 131072;
  family.names = WithQueryKeyNorms(GemmaNames());
  return family;
}

// Radford et al. 2019.
Family Gpt2() {
  return {.model_type = "gpt2",
          .architecture = "GPT2LMHeadModel",
          .norm = NormKind::kLayer,
          .position = PositionKind::kLearned,
          .mlp = MlpKind::kGeluTanh,
          .qkv_bias = Bias::kAll,
          .attention_out_bias = Bias::kAll,
          .mlp_bias = Bias::kAll,
          .activations = {"gelu_new", "gelu_pytorch_tanh"},
          .keys = {.hidden_size = "n_embd",
                   .layers = "n_layer",
                   .heads = "n_head",
                   .mlp_width = "n_inner",
                   .max_positions = "n_positions",
                   .norm_epsilon = "layer_norm_epsilon",
                   .activation = "activation_function",
                   .aliases = {{"hidden_size", "n_embd"},
                               {"num_hidden_layers", "n_layer"},
                               {"num_attention_heads", "n_head"},
                               {"max_position_embeddings", "n_positions"}}},
          .defaults = {.vocab_size = 50257,
                       .hidden_size = 768,
                       .layers = 12,
                       .heads = 12,
                       .max_positions = 1024,
                       .norm_epsilon = 1e-5,
                       .tie_embeddings = true,
                       .bos_id = 50256,
                       .eos_id = 50256},
          .names = Gpt2Names()};
}

// Devlin et al. 2018, arXiv:1810.04805.
Family Bert() {
  return {.model_type = "bert",
          .architecture = "BertForMaskedLM",
          .norm = NormKind::kLayer,
          .norm_place = NormPlace::kAfter,
          .position = PositionKind::kLearned,
          .mlp = MlpKind::kGelu,
          .head = HeadKind::kMasked,
          .qkv_bias = Bias::kAll,
          .attention_out_bias = Bias::kAll,
          .mlp_bias = Bias::kAll,
          .causal = false,
          .activations = {"gelu"},
          .keys = {.norm_epsilon = "layer_norm_eps"},
          .defaults = {.vocab_size = 30522,
                       .hidden_size = 768,
                       .layers = 12,
                       .heads = 12,
                       .mlp_width = 3072,
                       .max_positions = 512,
                       .norm_epsilon = 1e-12,
                       .tie_embeddings = true,
                       .pad_id = 0},
          .names = BertNames("bert.")};
}

// Liu et al. 2019, arXiv:1907.11692.
Family Roberta() {
  Family family = Bert();
  family.model_type = "roberta";
  family.architecture = "RobertaForMaskedLM";
  family.positions_after_pad = true;
  family.defaults.vocab_size = 50265;
  family.defaults.bos_id = 0;
  family.defaults.eos_id = 2;
  family.defaults.pad_id = 1;
  family.names = RobertaNames();
  return family;
}

// Sanh et al. 2019, arXiv:1910.01108.
Family DistilBert() {
  Family family = Bert();
  family.model_type = "distilbert";
  family.architecture = "DistilBertForMaskedLM";
  family.keys = {.hidden_size = "dim",
                 .layers = "n_layers",
                 .heads = "n_heads",
                 .mlp_width = "hidden_dim",
                 .norm_epsilon = "",
                 .activation = "activation",
                 .aliases = {{"hidden_size", "dim"},
                             {"num_hidden_layers", "n_layers"},
                             {"num_attention_heads", "n_heads"}}};
  family.defaults.layers = 6;
  family.names = DistilBertNames();
  return family;
}

template <class Wanted>
std::string NamesOfThose(Wanted wanted) {
  std::string names;
  for (const Family& family : Families()) {
    if (wanted(family)) names += (names.empty() ? "" : ", ") + family.model_type;
  }
  return names;
}

}  // namespace

std::string NameMap::InBlock(int64_t layer, const std::string& name) const {
  return fmt::format(fmt::runtime(block), layer) + "." + name;
}

const std::vector<Family>& Families() {
  static const std::vector<Family> kFamilies = {Llama(),   Mistral(),   Qwen2(), Qwen3(),
                                                Gemma2(),  Gemma3(),    Gpt2(),  Bert(),
                                                Roberta(), DistilBert()};
  return kFamilies;
}

StatusOr<const Family*> FindFamily(std::string_view model_type) {
  for (const Family& family : Families()) {
    if (family.model_type == model_type) return &family;
  }
  return InvalidArgument("model_type '{}' is not known; known are: {}", model_type, FamilyNames());
}

std::string FamilyNames() {
  return NamesOfThose([](const Family&) { return true; });
}

std::string FamilyNames(bool causal) {
  return NamesOfThose([=](const Family& family) { return family.causal == causal; });
}

}  // namespace trainyard

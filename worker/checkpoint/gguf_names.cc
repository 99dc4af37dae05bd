#include "worker/checkpoint/gguf_names.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

namespace trainyard::worker {
namespace {

// Names without ".weight" and ".bias"; "{}" is the block's number.
struct NameRow {
  std::string_view gguf, hf;
  GgufReshape reshape = GgufReshape::kNone;
};
struct Architecture {
  std::string_view name;
  std::vector<std::string_view> model_types;  // the first is what a file is taken for
  std::vector<NameRow> rows;
};

using enum GgufReshape;

// What all decoders with rotary embeddings share.
std::vector<NameRow> DecoderRows(std::vector<NameRow> more, GgufReshape queries = kNone,
                                 GgufReshape keys = kNone, GgufReshape norms = kNone) {
  std::vector<NameRow> rows = {
      {"token_embd", "model.embed_tokens"},
      {"output_norm", "model.norm", norms},
      {"output", "lm_head"},
      {"blk.{}.attn_norm", "model.layers.{}.input_layernorm", norms},
      {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", queries},
      {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", keys},
      {"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
      {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
      {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
      {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
      {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

std::vector<NameRow> GemmaRows(std::vector<NameRow> more) {
  std::vector<NameRow> rows = DecoderRows(
      {{"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm", kPlusOne},
       {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm", kPlusOne},
       {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm", kPlusOne}},
      kNone, kNone, kPlusOne);
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

std::vector<NameRow> Gpt2Rows() {
  return {{"token_embd", "transformer.wte"},
          {"position_embd", "transformer.wpe"},
          {"output_norm", "transformer.ln_f"},
          {"output", "lm_head"},
          {"blk.{}.attn_norm", "transformer.h.{}.ln_1"},
          {"blk.{}.attn_qkv", "transformer.h.{}.attn.c_attn", kTransposed},
          {"blk.{}.attn_output", "transformer.h.{}.attn.c_proj", kTransposed},
          {"blk.{}.ffn_norm", "transformer.h.{}.ln_2"},
          {"blk.{}.ffn_up", "transformer.h.{}.mlp.c_fc", kTransposed},
          {"blk.{}.ffn_down", "transformer.h.{}.mlp.c_proj", kTransposed}};
}

std::vector<NameRow> BertRows() {
  return {{"token_embd", "bert.embeddings.word_embeddings"},
          {"position_embd", "bert.embeddings.position_embeddings"},
          {"token_types", "bert.embeddings.token_type_embeddings"},
          {"token_embd_norm", "bert.embeddings.LayerNorm"},
          {"blk.{}.attn_q", "bert.encoder.layer.{}.attention.self.query"},
          {"blk.{}.attn_k", "bert.encoder.layer.{}.attention.self.key"},
          {"blk.{}.attn_v", "bert.encoder.layer.{}.attention.self.value"},
          {"blk.{}.attn_output", "bert.encoder.layer.{}.attention.output.dense"},
          {"blk.{}.attn_output_norm", "bert.encoder.layer.{}.attention.output.LayerNorm"},
          {"blk.{}.ffn_up", "bert.encoder.layer.{}.intermediate.dense"},
          {"blk.{}.ffn_down", "bert.encoder.layer.{}.output.dense"},
          {"blk.{}.layer_output_norm", "bert.encoder.layer.{}.output.LayerNorm"}};
}

const std::vector<Architecture>& Architectures() {
  const NameRow mlp_norm = {"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"};
  const auto head_norms = [](GgufReshape reshape) {
    return std::vector<NameRow>{
        {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm", reshape},
        {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm", reshape}};
  };
  static const std::vector<Architecture> kArchitectures = {
      {"llama",
       {"llama", "mistral"},
       DecoderRows({mlp_norm}, kInterleavedQueries, kInterleavedKeys)},
      {"qwen2", {"qwen2"}, DecoderRows({mlp_norm})},
      {"qwen3", {"qwen3"}, DecoderRows({mlp_norm, head_norms(kNone)[0], head_norms(kNone)[1]})},
      {"gemma2", {"gemma2"}, GemmaRows({})},
      {"gemma3", {"gemma3_text"}, GemmaRows(head_norms(kPlusOne))},
      {"gpt2", {"gpt2"}, Gpt2Rows()},
      {"bert", {"bert"}, BertRows()},
  };
  return kArchitectures;
}

const Architecture* Find(std::string_view name) {
  const auto& all = Architectures();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Architecture& one) { return one.name == name; });
  return found == all.end() ? nullptr : &*found;
}

// `name` taken apart by `pattern`: what stands for "{}" (digits without a leading zero), and
// whether it fits at all.
bool Fits(std::string_view pattern, std::string_view name, std::string_view* number) {
  const size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos) return name == pattern;
  const std::string_view before = pattern.substr(0, hole), after = pattern.substr(hole + 2);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) ||
      !name.ends_with(after))
    return false;
  *number = name.substr(before.size(), name.size() - before.size() - after.size());
  return std::all_of(number->begin(), number->end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         (number->size() == 1 || number->front() != '0');
}

// Takes ".weight" or ".bias" off a name; false when it has neither.
bool TakeEnd(std::string_view* name, std::string_view* end) {
  for (const std::string_view one : {".weight", ".bias"}) {
    if (!name->ends_with(one)) continue;
    *end = one;
    name->remove_suffix(one.size());
    return true;
  }
  return false;
}

std::optional<GgufName> Translate(std::string_view architecture, std::string_view name,
                                  std::string_view NameRow::*from, std::string_view NameRow::*to) {
  const Architecture* found = Find(architecture);
  std::string_view end;
  if (found == nullptr || !TakeEnd(&name, &end)) return std::nullopt;
  for (const NameRow& row : found->rows) {
    std::string_view number;
    if (!Fits(row.*from, name, &number)) continue;
    std::string other(row.*to);
    if (const size_t hole = other.find("{}"); hole != std::string::npos)
      other.replace(hole, 2, number);
    // Biases of transposed layers and norms have one dim and no 1 added.
    const bool is_plain = end == ".bias" && (row.reshape == kTransposed || row.reshape == kPlusOne);
    return GgufName{other.append(end), is_plain ? kNone : row.reshape};
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> ModelTypeOfGguf(std::string_view architecture) {
  const Architecture* found = Find(architecture);
  if (found == nullptr) return std::nullopt;
  return std::string(found->model_types[0]);
}

std::optional<std::string> GgufArchitectureOf(std::string_view model_type) {
  for (const Architecture& one : Architectures())
    for (const std::string_view type : one.model_types)
      if (type == model_type) return std::string(one.name);
  return std::nullopt;
}

std::string NamesOfGgufArchitectures() {
  std::string names;
  for (const Architecture& one : Architectures())
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

std::optional<GgufName> HfNameOfGguf(std::string_view architecture, std::string_view gguf_name) {
  return Translate(architecture, gguf_name, &NameRow::gguf, &NameRow::hf);
}
std::optional<GgufName> GgufNameOfHf(std::string_view architecture, std::string_view hf_name) {
  return Translate(architecture, hf_name, &NameRow::hf, &NameRow::gguf);
}

}  // namespace trainyard::worker

#include "worker/checkpoint/family_names.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace trainyard::worker {
namespace {

struct FamilyRow {
  std::vector<std::string_view> model_types;
  std::string_view prefix;                // of the base model
  std::vector<std::string_view> roots;    // what follows the prefix, to know names without it
  std::vector<std::string_view> buffers;  // ends of names
  std::vector<std::string_view> unused;   // beginnings of names
  std::vector<std::pair<std::string_view, std::string_view>> tied;  // a copy, what it repeats
};

FamilyRow DecoderRow(std::vector<std::string_view> model_types) {
  return {.model_types = std::move(model_types),
          .prefix = "model.",
          .roots = {"embed_tokens.", "layers.", "norm."},
          .buffers = {".rotary_emb.inv_freq"},
          .unused = {},
          .tied = {{"lm_head.weight", "model.embed_tokens.weight"}}};
}

const std::vector<FamilyRow>& Rows() {
  static const std::vector<FamilyRow> kRows = {
      DecoderRow({"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"}),
      {.model_types = {"gpt2"},
       .prefix = "transformer.",
       .roots = {"wte.", "wpe.", "h.", "ln_f."},
       .buffers = {".attn.bias", ".attn.masked_bias"},
       .unused = {},
       .tied = {{"lm_head.weight", "transformer.wte.weight"}}},
      {.model_types = {"bert"},
       .prefix = "bert.",
       .roots = {"embeddings.", "encoder.", "pooler."},
       .buffers = {"embeddings.position_ids"},
       .unused = {"bert.pooler.", "cls.seq_relationship."},
       .tied = {{"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"},
                {"cls.predictions.decoder.bias", "cls.predictions.bias"}}},
      {.model_types = {"roberta"},
       .prefix = "roberta.",
       .roots = {"embeddings.", "encoder.", "pooler."},
       .buffers = {"embeddings.position_ids", "embeddings.token_type_ids"},
       .unused = {"roberta.pooler."},
       .tied = {{"lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"},
                {"lm_head.decoder.bias", "lm_head.bias"}}},
      {.model_types = {"distilbert"},
       .prefix = "distilbert.",
       .roots = {"embeddings.", "transformer."},
       .buffers = {"embeddings.position_ids"},
       .unused = {},
       .tied = {{"vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight"}}},
  };
  return kRows;
}

const FamilyRow* RowOf(std::string_view model_type) {
  for (const FamilyRow& row : Rows())
    if (std::find(row.model_types.begin(), row.model_types.end(), model_type) !=
        row.model_types.end())
      return &row;
  return nullptr;
}

// TensorFlow's names for LayerNorm's parameters, in files from before 2020.
void RenameEnd(std::string* name, std::string_view from, std::string_view to) {
  if (name->ends_with(from)) name->replace(name->size() - from.size(), from.size(), to);
}

}  // namespace

CanonicalName CanonicalTensorName(std::string_view model_type, std::string_view name) {
  CanonicalName canonical{.name = std::string(name), .role = TensorRole::kWeight, .tied_to = ""};
  const FamilyRow* row = RowOf(model_type);
  if (row == nullptr) return canonical;
  RenameEnd(&canonical.name, "LayerNorm.gamma", "LayerNorm.weight");
  RenameEnd(&canonical.name, "LayerNorm.beta", "LayerNorm.bias");
  for (const std::string_view root : row->roots)
    if (name.starts_with(root)) canonical.name.insert(0, row->prefix);
  for (const std::string_view end : row->buffers)
    if (canonical.name.ends_with(end)) canonical.role = TensorRole::kBuffer;
  for (const std::string_view begin : row->unused)
    if (canonical.name.starts_with(begin)) canonical.role = TensorRole::kUnused;
  for (const auto& [copy, original] : row->tied) {
    if (canonical.name != copy) continue;
    canonical.role = TensorRole::kTied;
    canonical.tied_to = original;
  }
  return canonical;
}

}  // namespace trainyard::worker

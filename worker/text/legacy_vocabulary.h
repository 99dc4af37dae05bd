// Vocabularies from before tokenizer.json, as the tokenizer.json that says the same.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

// The texts of a model folder's files; absent where the folder has none.
struct LegacyFiles {
  // Byte-level BPE of GPT-2 and RoBERTa: {"token": id} and a line "left right" per merge.
  std::optional<std::string_view> vocab_json = {};
  std::optional<std::string_view> merges_txt = {};
  // WordPiece of BERT and DistilBERT: a token per line, its id the line.
  std::optional<std::string_view> vocab_txt = {};
  // Special tokens by name, do_lower_case, strip_accents, tokenize_chinese_chars, tokenizer_class,
  // add_prefix_space; either may be absent.
  std::optional<std::string_view> tokenizer_config = {};
  std::optional<std::string_view> special_tokens_map = {};
};

// NotFound: neither kind is whole. InvalidArgument: a file breaks its format; the line is named.
StatusOr<std::string> TokenizerJsonFromLegacy(const LegacyFiles& files);

}  // namespace trainyard::worker

// Vocabularies from before tokenizer.json, as the tokenizer.json that says the same.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/text/special_tokens.h"

namespace trainyard::worker {

// The texts of a model folder's files; absent where the folder has none.
struct LegacyFiles {
  // Byte-level BPE of GPT-2, RoBERTa, Qwen 2: {"token": id} and a line "left right" per merge.
  std::optional<std::string_view> vocab_json = {};
  std::optional<std::string_view> merges_txt = {};
  // WordPiece of BERT and DistilBERT: a token per line, its id the line.
  std::optional<std::string_view> vocab_txt = {};
  // SentencePiece's own file (sentencepiece_model.h).
  std::optional<std::string_view> tokenizer_model = {};
  // Special tokens, do_lower_case, strip_accents, tokenize_chinese_chars, tokenizer_class,
  // add_prefix_space, add_bos_token, add_eos_token.
  TokenFiles tokens = {};
  // config.json's: they tell the class where tokenizer_config.json does not.
  std::string_view model_type = {};
  std::string_view model_tokenizer_class = {};
};

struct LegacyTokenizer {
  std::string tokenizer_json;
  // "bos_token" -> "<s>": those of the files, else those of the class.
  std::map<std::string, std::string> special_tokens;
  std::vector<std::string> notes;  // what was read and is not used, what was taken for granted
};

// As the tokenizer class of transformers builds it, but SentencePiece's file as SentencePiece reads
// it. A class that is not known here is taken by its files, with a note. NotFound: no vocabulary is
// whole. InvalidArgument: a file breaks its format; the line or byte is named. Unimplemented: a
// SentencePiece model of another kind than BPE and Unigram.
StatusOr<LegacyTokenizer> TokenizerJsonFromLegacy(const LegacyFiles& files);

}  // namespace trainyard::worker

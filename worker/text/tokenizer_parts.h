// Pieces of tokenizer.json, and what they mean. Only this folder uses it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

using Json = nlohmann::json;

// GPT-2's spelling of bytes: each is one character, the printable ones themselves. SpellBytes of
// "\n" is "Ċ". UnspellBytes: nothing where a character stands for no byte.
std::string SpellBytes(std::string_view text);
std::optional<std::string> UnspellBytes(std::string_view spelled);

// A token of the vocabulary as tokenizer.json lists it under "added_tokens".
Json AddedToken(int64_t id, std::string_view content, bool special);

// A post-processor that puts tokens around a text: {content, id}. Null when there are none.
struct TemplateToken {
  std::string content;
  int64_t id = 0;
};
Json TemplateProcessing(const std::vector<TemplateToken>& before,
                        const std::vector<TemplateToken>& after);

// How text is cut before BPE, by the name GGUF files have for it. NotFound: no such name.
StatusOr<Json> PreTokenizerOfName(std::string_view name);
// Whether the vocabulary's own word goes first, merges or not (tokenizer.json "ignore_merges").
bool TakesWholeWords(std::string_view name);
// The name for a pre-tokenizer of tokenizer.json; nothing if it has none.
std::optional<std::string> NameOfPreTokenizer(const Json& pre_tokenizer);

// A tokenizer.json without its model, to be completed.
Json EmptyTokenizer();
// BPE as "model": no unknown token, no byte fallback.
Json BpeModel(Json vocabulary, Json merges);
Json ByteLevelDecoder();

// BERT's WordPiece: the normalizer and pre-tokenizer of BertTokenizer, `vocabulary` as
// "model.vocab".
struct BertOptions {
  bool lowercase = true;
  bool strip_accents_set = false;  // false: as lowercase says
  bool strip_accents = false;
  bool split_chinese = true;
};
Json BertNormalizer(const BertOptions& options);
Json WordPieceModel(Json vocabulary, std::string_view unknown);

}  // namespace trainyard::worker

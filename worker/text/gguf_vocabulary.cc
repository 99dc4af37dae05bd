#include "worker/text/gguf_vocabulary.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cmath>

#include "common/files.h"
#include "worker/text/sentencepiece_tokenizer.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // "▁", SentencePiece's space

using Ids = absl::flat_hash_map<std::string_view, int32_t>;

GgufTokenType TypeOf(const GgufVocabulary& vocabulary, size_t id) {
  return vocabulary.token_types.empty() ? GgufTokenType::kNormal
                                        : static_cast<GgufTokenType>(vocabulary.token_types[id]);
}

// Found in text as written, before anything is split: the unknown token too, as in llama.cpp.
bool IsAdded(GgufTokenType type) {
  return type == GgufTokenType::kControl || type == GgufTokenType::kUserDefined ||
         type == GgufTokenType::kUnknown;
}

Status CheckSpecialIds(const GgufVocabulary& vocabulary) {
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"bos", vocabulary.bos_id},     {"eos", vocabulary.eos_id},
      {"unknown", vocabulary.unk_id}, {"seperator", vocabulary.sep_id},
      {"padding", vocabulary.pad_id}, {"cls", vocabulary.cls_id},
      {"mask", vocabulary.mask_id}};
  for (const auto& [name, id] : ids)
    if (id.has_value() && (*id < 0 || static_cast<size_t>(*id) >= vocabulary.tokens.size()))
      return InvalidArgument(
          "GGUF vocabulary: tokenizer.ggml.{}_token_id is {}, but there are {} tokens", name, *id,
          vocabulary.tokens.size());
  return OkStatus();
}

Status CheckSizes(const GgufVocabulary& vocabulary) {
  const size_t size = vocabulary.tokens.size();
  if (size < 1 || size > kGgufTokensMax)
    return InvalidArgument(
        "GGUF vocabulary: tokenizer.ggml.tokens has {} entries, 1 to {} are "
        "possible",
        size, kGgufTokensMax);
  if (!vocabulary.token_types.empty() && vocabulary.token_types.size() != size)
    return InvalidArgument(
        "GGUF vocabulary: tokenizer.ggml.token_type has {} entries for {} tokens",
        vocabulary.token_types.size(), size);
  if (!vocabulary.scores.empty() && vocabulary.scores.size() != size)
    return InvalidArgument("GGUF vocabulary: tokenizer.ggml.scores has {} entries for {} tokens",
                           vocabulary.scores.size(), size);
  for (size_t id = 0; id < vocabulary.scores.size(); ++id)
    if (!std::isfinite(vocabulary.scores[id]))
      return InvalidArgument("GGUF vocabulary: the score of token {} is not finite", id);
  for (size_t id = 0; id < vocabulary.token_types.size(); ++id)
    if (vocabulary.token_types[id] < 1 || vocabulary.token_types[id] > 6)
      return InvalidArgument("GGUF vocabulary: token {} has the type {}, types are 1 to 6", id,
                             vocabulary.token_types[id]);
  for (size_t id = 0; id < size; ++id)
    if (const size_t at = FindInvalidUtf8(vocabulary.tokens[id]); at != std::string::npos)
      return InvalidArgument("GGUF vocabulary: token {} is not UTF-8 at byte {}", id, at);
  return CheckSpecialIds(vocabulary);
}

// Ids by token. InvalidArgument when two ids have the same one: the second could not be reached.
StatusOr<Ids> IdsOf(const std::vector<std::string>& tokens) {
  Ids ids;
  ids.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    const auto [place, is_new] = ids.emplace(tokens[id], static_cast<int32_t>(id));
    if (!is_new)
      return InvalidArgument("GGUF vocabulary: the tokens {} and {} are the same, \"{}\"",
                             place->second, id, tokens[id]);
  }
  return ids;
}

// A tokenizer.json whose two long lists are text from the start: tens of thousands of values cost
// as many allocations, and `generate` waits for them.
struct TokenizerText {
  Json tokenizer;           // all but model.vocab and model.merges
  std::string vocab = {};   // {token: id}
  std::string merges = {};  // [[left, right]]; empty where the model has none

  std::string Whole() && {
    Json model = std::move(tokenizer["model"]);
    for (const char* list : {"vocab", "merges"}) model.erase(list);
    tokenizer.erase("model");
    std::string text = tokenizer.dump();
    text.back() = ',';
    text += "\"model\":" + model.dump();
    text.back() = ',';
    text += "\"vocab\":" + vocab;
    if (!merges.empty()) text += ",\"merges\":" + merges;
    return text + "}}";
  }
};

void AppendJson(std::string_view token, std::string& text) {
  const bool is_plain = std::all_of(token.begin(), token.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
  });
  if (!is_plain) {
    text += Json(token).dump();
    return;
  }
  text += '"';
  text += token;
  text += '"';
}

std::string VocabText(const std::vector<std::string>& tokens) {
  std::string text = "{";
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (id > 0) text += ',';
    AppendJson(tokens[id], text);
    text += ':';
    text += std::to_string(id);
  }
  return text + "}";
}

Json AddedTokens(const GgufVocabulary& vocabulary) {
  Json added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    if (const GgufTokenType type = TypeOf(vocabulary, id); IsAdded(type))
      added.push_back(AddedToken(static_cast<int64_t>(id), vocabulary.tokens[id],
                                 type != GgufTokenType::kUserDefined));
  return added;
}

StatusOr<Json> BosAndEos(const GgufVocabulary& vocabulary, bool add_bos_by_default) {
  std::vector<TemplateToken> before, after;
  const auto token = [&](int32_t id) {
    return TemplateToken{vocabulary.tokens[static_cast<size_t>(id)], id};
  };
  if (vocabulary.add_bos.value_or(add_bos_by_default && vocabulary.bos_id.has_value())) {
    if (!vocabulary.bos_id.has_value())
      return InvalidArgument("GGUF vocabulary: add_bos_token is set, but there is no bos_token_id");
    before.push_back(token(*vocabulary.bos_id));
  }
  if (vocabulary.add_eos.value_or(false)) {
    if (!vocabulary.eos_id.has_value())
      return InvalidArgument("GGUF vocabulary: add_eos_token is set, but there is no eos_token_id");
    after.push_back(token(*vocabulary.eos_id));
  }
  return TemplateProcessing(before, after);
}

StatusOr<std::string> MergesOf(const GgufVocabulary& vocabulary, const Ids& ids) {
  std::string text = "[", joined;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos)
      return InvalidArgument("GGUF vocabulary: merge {} is \"{}\", not two tokens and a space", i,
                             merge);
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    joined.assign(left);
    joined += right;
    for (const std::string_view part : {left, right, std::string_view(joined)})
      if (!ids.contains(part))
        return InvalidArgument(
            "GGUF vocabulary: merge {} needs the token \"{}\", which is not there", i, part);
    text += i > 0 ? ",[" : "[";
    AppendJson(left, text);
    text += ',';
    AppendJson(right, text);
    text += ']';
  }
  return text + "]";
}

StatusOr<TokenizerText> ByteLevelTokenizer(const GgufVocabulary& vocabulary) {
  const StatusOr<Json> pre_tokenizer = PreTokenizerOfName(vocabulary.pre);
  if (!pre_tokenizer.ok())
    return Unimplemented(
        "GGUF vocabulary: the pre-tokenizer \"{}\" is not known here; import the model from its "
        "Hugging Face folder, whose tokenizer.json says how it splits text",
        vocabulary.pre);
  // Some writers spell tokens of text as they are read, not in the alphabet of bytes.
  std::vector<std::string> spelled = vocabulary.tokens;
  for (size_t id = 0; id < spelled.size(); ++id)
    if (!IsAdded(TypeOf(vocabulary, id)) && !UnspellBytes(spelled[id]).has_value())
      spelled[id] = SpellBytes(spelled[id]);
  ASSIGN_OR_RETURN(const Ids ids, IdsOf(spelled));
  ASSIGN_OR_RETURN(std::string merges, MergesOf(vocabulary, ids));
  Json tokenizer = EmptyTokenizer();
  tokenizer["pre_tokenizer"] = *pre_tokenizer;
  if (NameOfPreTokenizer(*pre_tokenizer) == "qwen2") tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["decoder"] = ByteLevelDecoder();
  ASSIGN_OR_RETURN(tokenizer["post_processor"], BosAndEos(vocabulary, false));
  tokenizer["model"] = BpeModel({}, {});
  tokenizer["model"]["ignore_merges"] = TakesWholeWords(vocabulary.pre);
  return TokenizerText{std::move(tokenizer), VocabText(spelled), std::move(merges)};
}

StatusOr<TokenizerText> SentencePieceTokenizer(const GgufVocabulary& vocabulary) {
  if (vocabulary.scores.empty() && vocabulary.merges.empty())
    return InvalidArgument(
        "GGUF vocabulary: a \"llama\" vocabulary without tokenizer.ggml.scores does not say which "
        "tokens join first");
  // Gemma's files have runs of spaces as such, as pieces of the user: found in the text as it is
  // given. Any other piece of spaces is one of the escaped text.
  std::vector<std::string> tokens = vocabulary.tokens;
  std::vector<bool> is_text;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const GgufTokenType type = TypeOf(vocabulary, id);
    is_text.push_back(type == GgufTokenType::kNormal || type == GgufTokenType::kUserDefined);
    if (IsAdded(type) || tokens[id].find_first_not_of(' ') != std::string::npos) continue;
    std::string spaces;
    for (size_t i = 0; i < tokens[id].size(); ++i) spaces += kSpace;
    tokens[id] = spaces;
  }
  ASSIGN_OR_RETURN(const Ids ids, IdsOf(tokens));
  std::string merges;
  if (vocabulary.merges.empty()) {
    merges = MergesOfScores(tokens, vocabulary.scores, is_text).dump();
  } else {
    ASSIGN_OR_RETURN(merges, MergesOf(vocabulary, ids));
  }
  const bool prefix = vocabulary.add_space_prefix.value_or(true);
  Json tokenizer = EmptyTokenizer();
  tokenizer["normalizer"] = SpacesNormalizer(prefix);
  tokenizer["decoder"] = SentencePieceDecoder(prefix ? 1 : 0);
  ASSIGN_OR_RETURN(tokenizer["post_processor"], BosAndEos(vocabulary, true));
  tokenizer["model"] = BpeModel({}, {});
  if (vocabulary.unk_id.has_value())
    tokenizer["model"]["unk_token"] = tokens[static_cast<size_t>(*vocabulary.unk_id)];
  tokenizer["model"]["fuse_unk"] = true;
  tokenizer["model"]["byte_fallback"] = true;
  return TokenizerText{std::move(tokenizer), VocabText(tokens), std::move(merges)};
}

StatusOr<std::string> TokenNamed(const std::vector<std::string>& tokens, const char* what,
                                 std::optional<int32_t> id, std::string_view usual) {
  if (id.has_value()) return tokens[static_cast<size_t>(*id)];
  if (std::find(tokens.begin(), tokens.end(), usual) != tokens.end()) return std::string(usual);
  return InvalidArgument("GGUF vocabulary: a \"bert\" vocabulary without {}_token_id or {}", what,
                         usual);
}

StatusOr<TokenizerText> WordPieceTokenizer(const GgufVocabulary& vocabulary) {
  std::vector<std::string> tokens = vocabulary.tokens;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) != GgufTokenType::kNormal) continue;
    tokens[id] =
        tokens[id].starts_with(kSpace) ? tokens[id].substr(kSpace.size()) : "##" + tokens[id];
  }
  ASSIGN_OR_RETURN(const Ids ids, IdsOf(tokens));
  ASSIGN_OR_RETURN(const std::string unknown,
                   TokenNamed(tokens, "unknown", vocabulary.unk_id, "[UNK]"));
  ASSIGN_OR_RETURN(
      const std::string cls,
      TokenNamed(tokens, "cls",
                 vocabulary.cls_id.has_value() ? vocabulary.cls_id : vocabulary.bos_id, "[CLS]"));
  ASSIGN_OR_RETURN(const std::string sep,
                   TokenNamed(tokens, "seperator", vocabulary.sep_id, "[SEP]"));
  Json tokenizer = EmptyTokenizer();
  tokenizer["normalizer"] = BertNormalizer({});
  tokenizer["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  tokenizer["post_processor"] = TemplateProcessing({{cls, ids.at(cls)}}, {{sep, ids.at(sep)}});
  tokenizer["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  tokenizer["model"] = WordPieceModel({}, unknown);
  return TokenizerText{std::move(tokenizer), VocabText(tokens)};
}

StatusOr<TokenizerText> TokenizerOf(const GgufVocabulary& vocabulary) {
  if (vocabulary.model == "gpt2") return ByteLevelTokenizer(vocabulary);
  if (vocabulary.model == "llama") return SentencePieceTokenizer(vocabulary);
  if (vocabulary.model == "bert") return WordPieceTokenizer(vocabulary);
  return Unimplemented(
      "GGUF vocabulary: tokenizer.ggml.model is \"{}\"; gpt2, llama and bert are known here",
      vocabulary.model);
}

}  // namespace

StatusOr<std::string> TokenizerJsonFromGguf(const GgufVocabulary& vocabulary) {
  RETURN_IF_ERROR(CheckSizes(vocabulary));
  ASSIGN_OR_RETURN(TokenizerText text, TokenizerOf(vocabulary));
  text.tokenizer["added_tokens"] = AddedTokens(vocabulary);
  return std::move(text).Whole();
}

}  // namespace trainyard::worker

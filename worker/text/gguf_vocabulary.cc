#include "worker/text/gguf_vocabulary.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "common/files.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // "▁", SentencePiece's space

using Ids = std::unordered_map<std::string_view, int32_t>;

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

Json VocabJson(const Ids& ids) {
  Json vocab = Json::object();
  for (const auto& [token, id] : ids) vocab[std::string(token)] = id;
  return vocab;
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

StatusOr<Json> MergesOf(const GgufVocabulary& vocabulary, const Ids& ids) {
  Json merges = Json::array();
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos)
      return InvalidArgument("GGUF vocabulary: merge {} is \"{}\", not two tokens and a space", i,
                             merge);
    const std::string left(merge.substr(0, space)), right(merge.substr(space + 1));
    for (const std::string& part : {left, right, left + right})
      if (!ids.contains(part))
        return InvalidArgument(
            "GGUF vocabulary: merge {} needs the token \"{}\", which is not there", i, part);
    merges.push_back({left, right});
  }
  return merges;
}

StatusOr<Json> ByteLevelTokenizer(const GgufVocabulary& vocabulary) {
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
  ASSIGN_OR_RETURN(Json merges, MergesOf(vocabulary, ids));
  Json tokenizer = EmptyTokenizer();
  tokenizer["pre_tokenizer"] = *pre_tokenizer;
  if (NameOfPreTokenizer(*pre_tokenizer) == "qwen2") tokenizer["normalizer"] = {{"type", "NFC"}};
  tokenizer["decoder"] = ByteLevelDecoder();
  ASSIGN_OR_RETURN(tokenizer["post_processor"], BosAndEos(vocabulary, false));
  tokenizer["model"] = BpeModel(VocabJson(ids), std::move(merges));
  tokenizer["model"]["ignore_merges"] = TakesWholeWords(vocabulary.pre);
  return tokenizer;
}

size_t CharactersOf(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// SentencePiece joins the pair whose token has the greatest score. tokenizer.json wants the pairs
// in that order: each way to cut a token in two others, as transformers' generate_merges sorts
// them. Tokens that are no text take no part.
Json MergesOfScores(const GgufVocabulary& vocabulary, const std::vector<std::string>& tokens,
                    const Ids& ids) {
  struct Merge {
    float score;
    size_t left_size, right_size;  // in characters
    int32_t left, right;
  };
  const auto is_text = [&](int32_t id) {
    const GgufTokenType type = TypeOf(vocabulary, static_cast<size_t>(id));
    return type == GgufTokenType::kNormal || type == GgufTokenType::kUserDefined;
  };
  std::vector<Merge> merges;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!is_text(static_cast<int32_t>(id))) continue;
    const std::string_view token = tokens[id];
    const size_t first = merges.size();
    for (size_t cut = 1; cut < token.size(); ++cut) {
      if ((token[cut] & 0xC0) == 0x80) continue;  // inside a character
      const auto left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left == ids.end() || right == ids.end()) continue;
      if (!is_text(left->second) || !is_text(right->second)) continue;
      merges.push_back({vocabulary.scores[id], CharactersOf(left->first),
                        CharactersOf(right->first), left->second, right->second});
    }
    std::sort(merges.begin() + static_cast<int64_t>(first), merges.end(),
              [](const Merge& a, const Merge& b) {
                return std::tie(a.left, a.right) < std::tie(b.left, b.right);
              });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::tie(a.score, a.left_size, a.right_size) >
           std::tie(b.score, b.left_size, b.right_size);
  });
  Json pairs = Json::array();
  for (const Merge& merge : merges)
    pairs.push_back(
        {tokens[static_cast<size_t>(merge.left)], tokens[static_cast<size_t>(merge.right)]});
  return pairs;
}

Json SentencePieceDecoder(bool strips_first_space) {
  Json decoders =
      Json::array({{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}});
  if (strips_first_space)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

StatusOr<Json> SentencePieceTokenizer(const GgufVocabulary& vocabulary) {
  if (vocabulary.scores.empty() && vocabulary.merges.empty())
    return InvalidArgument(
        "GGUF vocabulary: a \"llama\" vocabulary without tokenizer.ggml.scores does not say which "
        "tokens join first");
  // Gemma's files have runs of spaces as such.
  std::vector<std::string> tokens = vocabulary.tokens;
  for (std::string& token : tokens) {
    if (token.empty() || token.find_first_not_of(' ') != std::string::npos) continue;
    std::string spaces;
    for (size_t i = 0; i < token.size(); ++i) spaces += kSpace;
    token = spaces;
  }
  ASSIGN_OR_RETURN(const Ids ids, IdsOf(tokens));
  Json merges = Json::array();
  if (vocabulary.merges.empty()) {
    merges = MergesOfScores(vocabulary, tokens, ids);
  } else {
    ASSIGN_OR_RETURN(merges, MergesOf(vocabulary, ids));
  }
  const bool prefix = vocabulary.add_space_prefix.value_or(true);
  Json tokenizer = EmptyTokenizer();
  tokenizer["pre_tokenizer"] = {{"type", "Metaspace"},
                                {"replacement", kSpace},
                                {"prepend_scheme", prefix ? "first" : "never"},
                                {"split", false}};
  tokenizer["decoder"] = SentencePieceDecoder(prefix);
  ASSIGN_OR_RETURN(tokenizer["post_processor"], BosAndEos(vocabulary, true));
  tokenizer["model"] = BpeModel(VocabJson(ids), std::move(merges));
  if (vocabulary.unk_id.has_value())
    tokenizer["model"]["unk_token"] = tokens[static_cast<size_t>(*vocabulary.unk_id)];
  tokenizer["model"]["fuse_unk"] = true;
  tokenizer["model"]["byte_fallback"] = true;
  return tokenizer;
}

StatusOr<std::string> NamedToken(const std::vector<std::string>& tokens, const char* what,
                                 std::optional<int32_t> id, std::string_view usual) {
  if (id.has_value()) return tokens[static_cast<size_t>(*id)];
  if (std::find(tokens.begin(), tokens.end(), usual) != tokens.end()) return std::string(usual);
  return InvalidArgument("GGUF vocabulary: a \"bert\" vocabulary without {}_token_id or {}", what,
                         usual);
}

StatusOr<Json> WordPieceTokenizer(const GgufVocabulary& vocabulary) {
  std::vector<std::string> tokens = vocabulary.tokens;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (TypeOf(vocabulary, id) != GgufTokenType::kNormal) continue;
    tokens[id] =
        tokens[id].starts_with(kSpace) ? tokens[id].substr(kSpace.size()) : "##" + tokens[id];
  }
  ASSIGN_OR_RETURN(const Ids ids, IdsOf(tokens));
  ASSIGN_OR_RETURN(const std::string unknown,
                   NamedToken(tokens, "unknown", vocabulary.unk_id, "[UNK]"));
  ASSIGN_OR_RETURN(
      const std::string cls,
      NamedToken(tokens, "cls",
                 vocabulary.cls_id.has_value() ? vocabulary.cls_id : vocabulary.bos_id, "[CLS]"));
  ASSIGN_OR_RETURN(const std::string sep,
                   NamedToken(tokens, "seperator", vocabulary.sep_id, "[SEP]"));
  Json tokenizer = EmptyTokenizer();
  tokenizer["normalizer"] = BertNormalizer({});
  tokenizer["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  tokenizer["post_processor"] = TemplateProcessing({{cls, ids.at(cls)}}, {{sep, ids.at(sep)}});
  tokenizer["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  tokenizer["model"] = WordPieceModel(VocabJson(ids), unknown);
  return tokenizer;
}

StatusOr<Json> TokenizerOf(const GgufVocabulary& vocabulary) {
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
  ASSIGN_OR_RETURN(Json tokenizer, TokenizerOf(vocabulary));
  tokenizer["added_tokens"] = AddedTokens(vocabulary);
  return tokenizer.dump();
}

}  // namespace trainyard::worker

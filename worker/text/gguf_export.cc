// GgufFromTokenizerJson: what llama.cpp calls the parts of a tokenizer.json.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "worker/text/gguf_vocabulary.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // "▁"

// A value of tokenizer.json, null where it is not there.
const Json& At(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNull : *found;
}

bool IsText(const Json& value, std::string_view text) {
  return value.is_string() && value.get_ref<const std::string&>() == text;
}

StatusOr<int64_t> IdOf(const Json& value, std::string_view token) {
  if (!value.is_number_integer() || value < 0 || value >= kGgufTokensMax)
    return InvalidArgument("tokenizer.json: the token \"{}\" has the id {}, not one of 0 to {}",
                           token, value.dump(), kGgufTokensMax - 1);
  return value.get<int64_t>();
}

// Tokens and types by id: those of the model and the added ones; what lies between is unused.
class Table {
 public:
  Status Add(const Json& id_json, const std::string& token, GgufTokenType type) {
    ASSIGN_OR_RETURN(const int64_t id, IdOf(id_json, token));
    const size_t size = std::max(tokens_.size(), static_cast<size_t>(id) + 1);
    tokens_.resize(size);
    types_.resize(size, 0);
    std::string& place = tokens_[static_cast<size_t>(id)];
    if (types_[static_cast<size_t>(id)] != 0 && place != token)
      return InvalidArgument("tokenizer.json: \"{}\" and \"{}\" have the same id {}", place, token,
                             id);
    place = token;
    types_[static_cast<size_t>(id)] = static_cast<int32_t>(type);
    return OkStatus();
  }

  void MoveInto(GgufVocabulary& vocabulary) {
    for (size_t id = 0; id < tokens_.size(); ++id) {
      if (types_[id] != 0) continue;
      tokens_[id] = fmt::format("[PAD{}]", id);
      types_[id] = static_cast<int32_t>(GgufTokenType::kUnused);
    }
    vocabulary.tokens = std::move(tokens_);
    vocabulary.token_types = std::move(types_);
  }

 private:
  std::vector<std::string> tokens_;
  std::vector<int32_t> types_;  // 0: no token yet
};

bool IsByteToken(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with(">");
}

Status AddTokens(const Json& tokenizer, bool is_sentencepiece, GgufVocabulary& vocabulary) {
  Table table;
  const Json& unknown = At(At(tokenizer, "model"), "unk_token");
  for (const auto& [token, id] : At(At(tokenizer, "model"), "vocab").items()) {
    GgufTokenType type = GgufTokenType::kNormal;
    if (is_sentencepiece && IsByteToken(token)) type = GgufTokenType::kByte;
    if (is_sentencepiece && IsText(unknown, token)) type = GgufTokenType::kUnknown;
    RETURN_IF_ERROR(table.Add(id, token, type));
  }
  for (const Json& added : At(tokenizer, "added_tokens")) {
    const Json& content = At(added, "content");
    if (!content.is_string())
      return InvalidArgument("tokenizer.json: an added token has no \"content\"");
    const bool special = At(added, "special") == true;
    const bool is_unknown = is_sentencepiece && content == unknown;
    RETURN_IF_ERROR(table.Add(At(added, "id"), content.get<std::string>(),
                              is_unknown ? GgufTokenType::kUnknown
                              : special  ? GgufTokenType::kControl
                                         : GgufTokenType::kUserDefined));
  }
  table.MoveInto(vocabulary);
  if (vocabulary.tokens.empty()) return InvalidArgument("tokenizer.json: it has no tokens");
  return OkStatus();
}

// Each merge as "left right"; files have them so or as pairs.
StatusOr<std::vector<std::string>> MergesOf(const Json& model) {
  std::vector<std::string> merges;
  for (const Json& merge : At(model, "merges")) {
    if (merge.is_string()) {
      merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.push_back(merge[0].get<std::string>() + ' ' + merge[1].get<std::string>());
    } else {
      return InvalidArgument("tokenizer.json: merge {} is {}, not two tokens", merges.size(),
                             merge.dump());
    }
  }
  return merges;
}

Status ByteLevel(const Json& tokenizer, GgufVocabulary& vocabulary) {
  const std::optional<std::string> pre = NameOfPreTokenizer(At(tokenizer, "pre_tokenizer"));
  if (!pre.has_value())
    return Unimplemented(
        "tokenizer.json: llama.cpp has no name for this pre-tokenizer, so a GGUF file cannot say "
        "how "
        "text is split: {}",
        At(tokenizer, "pre_tokenizer").dump());
  const Json& normalizer = At(tokenizer, "normalizer");
  const bool is_none = normalizer.is_null() || At(normalizer, "normalizers") == Json::array();
  if (!is_none && !IsText(At(normalizer, "type"), "NFC"))
    return Unimplemented("tokenizer.json: a GGUF file cannot say the normalizer {}",
                         normalizer.dump());
  vocabulary.model = "gpt2";
  vocabulary.pre = *pre;
  RETURN_IF_ERROR(AddTokens(tokenizer, /*is_sentencepiece=*/false, vocabulary));
  ASSIGN_OR_RETURN(vocabulary.merges, MergesOf(At(tokenizer, "model")));
  return OkStatus();
}

// The greater score joins sooner: minus the place of the first merge that makes a token.
Status AddScores(const Json& model, GgufVocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const std::vector<std::string> merges, MergesOf(model));
  std::unordered_map<std::string, size_t> first_of;
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string made = merges[i];
    made.erase(made.find(' '), 1);
    first_of.emplace(std::move(made), i);
  }
  vocabulary.scores.reserve(vocabulary.tokens.size());
  for (const std::string& token : vocabulary.tokens) {
    const auto found = first_of.find(token);
    vocabulary.scores.push_back(found == first_of.end() ? -static_cast<float>(merges.size())
                                                        : -static_cast<float>(found->second));
  }
  return OkStatus();
}

// Whether the text gets a space in front: the pre-tokenizer or a normalizer says so.
StatusOr<bool> PrependsSpace(const Json& tokenizer) {
  const Json& pre_tokenizer = At(tokenizer, "pre_tokenizer");
  const Json& normalizer = At(tokenizer, "normalizer");
  if (IsText(At(pre_tokenizer, "type"), "Metaspace") && normalizer.is_null())
    return !IsText(At(pre_tokenizer, "prepend_scheme"), "never");
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}};
  const Json prepend = {{"type", "Prepend"}, {"prepend", kSpace}};
  const bool splits = IsText(At(pre_tokenizer, "type"), "Split") || pre_tokenizer.is_null();
  if (splits && normalizer == replace) return false;
  if (splits && At(normalizer, "normalizers") == Json::array({prepend, replace})) return true;
  return Unimplemented(
      "tokenizer.json: a GGUF file cannot say this normalizer {} with this pre-tokenizer {}",
      normalizer.dump(), pre_tokenizer.dump());
}

Status SentencePiece(const Json& tokenizer, GgufVocabulary& vocabulary) {
  ASSIGN_OR_RETURN(vocabulary.add_space_prefix, PrependsSpace(tokenizer));
  if (*vocabulary.add_space_prefix && !At(tokenizer, "pre_tokenizer").is_null() &&
      IsText(At(At(tokenizer, "pre_tokenizer"), "type"), "Metaspace"))
    vocabulary.notes.emplace_back(
        "llama.cpp puts a space before every text, this tokenizer.json (Metaspace) only before one "
        "that does not begin with a space: such texts are cut otherwise there");
  vocabulary.model = "llama";
  vocabulary.pre = "default";
  RETURN_IF_ERROR(AddTokens(tokenizer, /*is_sentencepiece=*/true, vocabulary));
  const auto& types = vocabulary.token_types;
  const auto unknown =
      std::find(types.begin(), types.end(), static_cast<int32_t>(GgufTokenType::kUnknown));
  if (unknown != types.end()) vocabulary.unk_id = static_cast<int32_t>(unknown - types.begin());
  return AddScores(At(tokenizer, "model"), vocabulary);
}

Status WordPiece(const Json& tokenizer, GgufVocabulary& vocabulary) {
  const Json& normalizer = At(tokenizer, "normalizer");
  if (!IsText(At(normalizer, "type"), "BertNormalizer") || At(normalizer, "lowercase") != true ||
      !IsText(At(At(tokenizer, "pre_tokenizer"), "type"), "BertPreTokenizer") ||
      !IsText(At(At(tokenizer, "model"), "continuing_subword_prefix"), "##"))
    return Unimplemented(
        "tokenizer.json: llama.cpp knows WordPiece only as lower-cased BERT has it; this one has "
        "the "
        "normalizer {}",
        normalizer.dump());
  vocabulary.model = "bert";
  RETURN_IF_ERROR(AddTokens(tokenizer, /*is_sentencepiece=*/false, vocabulary));
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.token_types[id] != static_cast<int32_t>(GgufTokenType::kNormal)) continue;
    std::string& token = vocabulary.tokens[id];
    token = token.starts_with("##") ? token.substr(2) : std::string(kSpace) + token;
  }
  return OkStatus();
}

// BOS and EOS are added if the post-processor's template puts something around a text.
void SetAdded(const Json& processor, GgufVocabulary& vocabulary) {
  if (IsText(At(processor, "type"), "Sequence"))
    for (const Json& one : At(processor, "processors")) SetAdded(one, vocabulary);
  const Json& single = At(processor, "single");
  if (!IsText(At(processor, "type"), "TemplateProcessing") || !single.is_array() || single.empty())
    return;
  vocabulary.add_bos = single.front().contains("SpecialToken");
  vocabulary.add_eos = single.back().contains("SpecialToken");
}

Status SetSpecial(const SpecialTokenIds& special, GgufVocabulary& vocabulary) {
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"BOS", special.bos},  {"EOS", special.eos},     {"unknown", special.unk},
      {"SEP", special.sep},  {"padding", special.pad}, {"CLS", special.cls},
      {"mask", special.mask}};
  for (const auto& [name, id] : ids)
    if (id.has_value() && (*id < 0 || static_cast<size_t>(*id) >= vocabulary.tokens.size()))
      return InvalidArgument("tokenizer.json: it has {} tokens, the {} token is {}",
                             vocabulary.tokens.size(), name, *id);
  vocabulary.bos_id = special.bos;
  vocabulary.eos_id = special.eos;
  if (special.unk.has_value()) vocabulary.unk_id = special.unk;
  vocabulary.sep_id = special.sep;
  vocabulary.pad_id = special.pad;
  vocabulary.cls_id = special.cls;
  vocabulary.mask_id = special.mask;
  return OkStatus();
}

}  // namespace

StatusOr<GgufVocabulary> GgufFromTokenizerJson(std::string_view tokenizer_json,
                                               const SpecialTokenIds& special) {
  const Json tokenizer = Json::parse(tokenizer_json, nullptr, /*allow_exceptions=*/false);
  const Json& model = At(tokenizer, "model");
  if (!model.is_object() || !At(model, "vocab").is_structured())
    return InvalidArgument("tokenizer.json: not JSON with a \"model\" that has a \"vocab\"");
  GgufVocabulary vocabulary;
  vocabulary.add_bos = vocabulary.add_eos = false;
  if (IsText(At(model, "type"), "WordPiece")) {
    RETURN_IF_ERROR(WordPiece(tokenizer, vocabulary));
  } else if (!IsText(At(model, "type"), "BPE") || !At(model, "vocab").is_object()) {
    return Unimplemented("tokenizer.json: a GGUF file cannot say a model of type {}",
                         At(model, "type").dump());
  } else if (At(model, "byte_fallback") == true) {
    RETURN_IF_ERROR(SentencePiece(tokenizer, vocabulary));
  } else {
    RETURN_IF_ERROR(ByteLevel(tokenizer, vocabulary));
  }
  RETURN_IF_ERROR(SetSpecial(special, vocabulary));
  SetAdded(At(tokenizer, "post_processor"), vocabulary);
  return vocabulary;
}

}  // namespace trainyard::worker

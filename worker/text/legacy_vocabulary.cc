#include "worker/text/legacy_vocabulary.h"

#include <algorithm>

#include "common/files.h"
#include "worker/text/sentencepiece_tokenizer.h"
#include "worker/text/tokenizer_class.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

using Kind = TokenizerClass::Kind;

// As many as a GGUF vocabulary may have.
constexpr int64_t kTokensMax = int64_t{1} << 20;

// What is known before a vocabulary is read.
struct Settings {
  const TokenizerClass* of = nullptr;
  TokenNames names;

  std::string Token(const char* name) const {
    const auto found = names.named.find(name);
    return found == names.named.end() ? std::string() : found->second.content;
  }
  bool Flag(const char* name, bool otherwise) const {
    const auto found = names.config.find(name);
    return found != names.config.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  }
};

// The lines of a text, without "\r"; the last one may lack its end.
std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

Status CheckText(std::string_view name, std::string_view text) {
  if (const size_t at = FindInvalidUtf8(text); at != std::string::npos)
    return InvalidArgument("{}: not UTF-8 at byte {}", name, at);
  return OkStatus();
}

// What tokenizer_config.json, else config.json, calls the class; may be empty.
std::string ClassNameOf(const LegacyFiles& files, const TokenNames& names) {
  const auto found = names.config.find("tokenizer_class");
  if (found != names.config.end() && found->is_string()) return found->get<std::string>();
  return std::string(files.model_tokenizer_class);
}

// By its name, else by the model's type; null: neither is known.
const TokenizerClass* NamedClass(const LegacyFiles& files, const TokenNames& names) {
  const TokenizerClass* named = FindTokenizerClass(ClassNameOf(files, names));
  return named != nullptr ? named : TokenizerClassOfModel(files.model_type);
}

// The class, or `otherwise` where it is not for this kind of files.
const TokenizerClass* ClassOf(const LegacyFiles& files, Kind kind, std::string_view otherwise,
                              TokenNames& names) {
  const TokenizerClass* of = NamedClass(files, names);
  if (of == nullptr || of->kind != kind) of = FindTokenizerClass(otherwise);
  const std::string name = ClassNameOf(files, names);
  const bool names_none =
      name.empty() || name.starts_with("PreTrainedTokenizer") || name == "TokenizersBackend";
  if (!names_none && FindTokenizerClass(name) != of)
    names.notes.push_back(fmt::format(
        "the tokenizer class \"{}\" is not known for these files: they are read as {}'s", name,
        of->name));
  return of;
}

StatusOr<Settings> ReadSettings(const LegacyFiles& files, Kind kind, std::string_view otherwise) {
  Settings settings;
  ASSIGN_OR_RETURN(settings.names, ReadTokenNames(files.tokens));
  settings.of = ClassOf(files, kind, otherwise, settings.names);
  return settings;
}

// The class's own tokens where no file names one. Those that the vocabulary lacks are not added: a
// model has no row for them.
void AddDefaults(const Json& vocab, Settings& settings) {
  for (const auto& [name, usual] : settings.of->default_tokens()) {
    const std::string content(usual);
    if (settings.names.named.contains(std::string(name)) || !vocab.contains(content)) continue;
    NamedToken token{.content = content};
    for (const auto& [id, other] : settings.names.by_id)
      if (other.content == content) token = other;
    token.special = true;
    settings.names.named.emplace(name, std::move(token));
  }
  // RoBERTa's mask stands for a word and the space before it, unless a file says otherwise.
  const auto mask = settings.names.named.find("mask_token");
  if (settings.of->around == TokenizerClass::Around::kRoberta &&
      mask != settings.names.named.end() && mask->second.flags_are_ours)
    mask->second.lstrip = true;
}

LegacyTokenizer Finished(const Json& tokenizer, Settings settings) {
  LegacyTokenizer made{tokenizer.dump(), {}, std::move(settings.names.notes)};
  for (const auto& [name, token] : settings.names.named) made.special_tokens[name] = token.content;
  return made;
}

StatusOr<LegacyTokenizer> WordPieceFrom(const LegacyFiles& files) {
  ASSIGN_OR_RETURN(Settings settings, ReadSettings(files, Kind::kWordPiece, "BertTokenizer"));
  const std::string_view vocab_txt = *files.vocab_txt;
  RETURN_IF_ERROR(CheckText("vocab.txt", vocab_txt));
  const std::vector<std::string> lines = LinesOf(vocab_txt);
  if (lines.empty() || static_cast<int64_t>(lines.size()) > kTokensMax)
    return InvalidArgument("vocab.txt: {} lines; 1 to {} are possible", lines.size(), kTokensMax);
  Json vocab = Json::object();
  for (size_t id = 0; id < lines.size(); ++id) vocab[lines[id]] = id;
  AddDefaults(vocab, settings);
  for (const auto& [name, usual] : settings.of->default_tokens()) {
    const std::string content = settings.Token(std::string(name).c_str());
    if (name == "pad_token" || name == "mask_token" || vocab.contains(content)) continue;
    return InvalidArgument("vocab.txt: the {} \"{}\" is not in it; tokenizer_config.json names it",
                           name, content.empty() ? usual : content);
  }
  BertOptions bert{.lowercase = settings.Flag("do_lower_case", true),
                   .split_chinese = settings.Flag("tokenize_chinese_chars", true)};
  const auto accents = settings.names.config.find("strip_accents");
  bert.strip_accents_set = accents != settings.names.config.end() && accents->is_boolean();
  if (bert.strip_accents_set) bert.strip_accents = accents->get<bool>();
  const auto token = [&](const char* name) {
    return TemplateToken{settings.Token(name), vocab[settings.Token(name)].get<int64_t>()};
  };
  Json tokenizer = EmptyTokenizer();
  tokenizer["normalizer"] = BertNormalizer(bert);
  tokenizer["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  tokenizer["post_processor"] = TemplateProcessing({token("cls_token")}, {token("sep_token")});
  tokenizer["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  RETURN_IF_ERROR(
      AddNamedTokens(settings.names, vocab, tokenizer["added_tokens"], settings.names.notes));
  tokenizer["model"] = WordPieceModel(std::move(vocab), settings.Token("unk_token"));
  return Finished(tokenizer, std::move(settings));
}

StatusOr<Json> ReadVocabJson(std::string_view text) {
  Json vocab = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!vocab.is_object()) return InvalidArgument("vocab.json: not a JSON object");
  for (const auto& [token, id] : vocab.items())
    if (!id.is_number_integer() || id < 0 || id >= kTokensMax)
      return InvalidArgument("vocab.json: the token \"{}\" has the id {}", token, id.dump());
  return vocab;
}

StatusOr<Json> ReadMerges(std::string_view text, const Json& vocab) {
  RETURN_IF_ERROR(CheckText("merges.txt", text));
  Json merges = Json::array();
  const std::vector<std::string> lines = LinesOf(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if ((i == 0 && lines[i].starts_with("#version")) || lines[i].empty()) continue;
    const size_t space = lines[i].find(' ');
    if (space == std::string::npos || lines[i].find(' ', space + 1) != std::string::npos)
      return InvalidArgument("merges.txt: line {} is \"{}\", not two tokens and a space", i + 1,
                             lines[i]);
    const std::string left = lines[i].substr(0, space), right = lines[i].substr(space + 1);
    for (const std::string& part : {left, right, left + right})
      if (!vocab.contains(part))
        return InvalidArgument("merges.txt: line {} needs \"{}\", which vocab.json does not have",
                               i + 1, part);
    merges.push_back({left, right});
  }
  return merges;
}

// The id of a token of the vocabulary or of "added_tokens"; nothing if there is none.
std::optional<int64_t> IdOf(const Json& tokenizer, const Json& vocab, const std::string& content) {
  if (const auto found = vocab.find(content); found != vocab.end()) return found->get<int64_t>();
  for (const Json& added : tokenizer["added_tokens"])
    if (added["content"] == content) return added["id"].get<int64_t>();
  return std::nullopt;
}

// BOS and EOS, where tokenizer_config.json or else the class has them around a text.
Json BosAndEos(const Json& tokenizer, const Json& vocab, bool bos_by_default, Settings& settings) {
  const auto tokens = [&](const char* flag, const char* name, bool otherwise) {
    std::vector<TemplateToken> around;
    const std::string content = settings.Token(name);
    const std::optional<int64_t> id = IdOf(tokenizer, vocab, content);
    if (!settings.Flag(flag, otherwise)) return around;
    if (id.has_value()) {
      around.push_back({content, *id});
    } else if (settings.Flag(flag, false)) {
      settings.names.notes.push_back(
          fmt::format("tokenizer_config.json: {} is not used, there is no {}", flag, name));
    }
    return around;
  };
  const auto before = tokens("add_bos_token", "bos_token", bos_by_default);
  return TemplateProcessing(before, tokens("add_eos_token", "eos_token", false));
}

StatusOr<Json> RobertaProcessing(const Settings& settings, const Json& vocab, bool prefix) {
  const std::string cls = settings.Token("cls_token"), sep = settings.Token("sep_token");
  if (!vocab.contains(cls) || !vocab.contains(sep))
    return InvalidArgument(
        "vocab.json: RoBERTa's \"<s>\" and \"</s>\", or the cls_token \"{}\" and sep_token \"{}\" "
        "of tokenizer_config.json, are not both in it",
        cls, sep);
  return Json{{"type", "RobertaProcessing"},
              {"sep", {sep, vocab[sep]}},
              {"cls", {cls, vocab[cls]}},
              {"trim_offsets", settings.Flag("trim_offsets", true)},
              {"add_prefix_space", prefix}};
}

StatusOr<LegacyTokenizer> ByteLevelFrom(const LegacyFiles& files) {
  ASSIGN_OR_RETURN(Settings settings, ReadSettings(files, Kind::kByteLevel, "GPT2Tokenizer"));
  ASSIGN_OR_RETURN(Json vocab, ReadVocabJson(*files.vocab_json));
  ASSIGN_OR_RETURN(Json merges, ReadMerges(*files.merges_txt, vocab));
  AddDefaults(vocab, settings);
  const bool prefix = settings.Flag("add_prefix_space", false);
  Json tokenizer = EmptyTokenizer();
  RETURN_IF_ERROR(
      AddNamedTokens(settings.names, vocab, tokenizer["added_tokens"], settings.names.notes));
  if (settings.of->composes) tokenizer["normalizer"] = {{"type", "NFC"}};
  ASSIGN_OR_RETURN(tokenizer["pre_tokenizer"], PreTokenizerOfName(settings.of->pre));
  Json& pre_tokenizer = tokenizer["pre_tokenizer"];
  (pre_tokenizer.contains("pretokenizers") ? pre_tokenizer["pretokenizers"].back()
                                           : pre_tokenizer)["add_prefix_space"] = prefix;
  if (settings.of->around == TokenizerClass::Around::kRoberta) {
    ASSIGN_OR_RETURN(tokenizer["post_processor"], RobertaProcessing(settings, vocab, prefix));
  } else {
    tokenizer["post_processor"] = BosAndEos(tokenizer, vocab, false, settings);
  }
  tokenizer["decoder"] = ByteLevelDecoder();
  tokenizer["model"] = BpeModel(std::move(vocab), std::move(merges));
  return Finished(tokenizer, std::move(settings));
}

// The names that the trainer of the model gave, where no file of the folder gives one.
void AddTrainersNames(const SentencePieceModel& model, Settings& settings) {
  const std::pair<const char*, std::optional<int64_t>> ids[] = {{"bos_token", model.bos_id},
                                                                {"eos_token", model.eos_id},
                                                                {"unk_token", model.unk_id},
                                                                {"pad_token", model.pad_id}};
  for (const auto& [name, id] : ids) {
    if (!id.has_value() || settings.names.named.contains(name)) continue;
    settings.names.named.emplace(
        name, NamedToken{.content = model.pieces[static_cast<size_t>(*id)].text});
  }
}

StatusOr<LegacyTokenizer> SentencePieceFrom(const LegacyFiles& files) {
  ASSIGN_OR_RETURN(Settings settings, ReadSettings(files, Kind::kSentencePiece, "LlamaTokenizer"));
  ASSIGN_OR_RETURN(SentencePieceModel model, ParseSentencePieceModel(*files.tokenizer_model));
  RenamePieces(settings.names, model, settings.names.notes);
  AddTrainersNames(model, settings);
  Json vocab = Json::object();
  for (size_t id = 0; id < model.pieces.size(); ++id) vocab[model.pieces[id].text] = id;
  ASSIGN_OR_RETURN(Json tokenizer, TokenizerOf(model));
  AddPiecesByType(model, settings.names);
  RETURN_IF_ERROR(
      AddNamedTokens(settings.names, vocab, tokenizer["added_tokens"], settings.names.notes));
  tokenizer["post_processor"] = BosAndEos(tokenizer, vocab, true, settings);
  tokenizer["model"] = ModelOf(model, vocab);
  return Finished(tokenizer, std::move(settings));
}

// The kinds of vocabulary that the folder has, that of its class first.
std::vector<Kind> KindsThere(const LegacyFiles& files, const TokenNames& names) {
  std::vector<Kind> kinds;
  if (files.vocab_json.has_value() && files.merges_txt.has_value())
    kinds.push_back(Kind::kByteLevel);
  if (files.vocab_txt.has_value()) kinds.push_back(Kind::kWordPiece);
  if (files.tokenizer_model.has_value()) kinds.push_back(Kind::kSentencePiece);
  const TokenizerClass* of = NamedClass(files, names);
  std::stable_partition(kinds.begin(), kinds.end(),
                        [&](Kind kind) { return of != nullptr && of->kind == kind; });
  return kinds;
}

const char* FilesOf(Kind kind) {
  switch (kind) {
    case Kind::kByteLevel:
      return "vocab.json and merges.txt";
    case Kind::kWordPiece:
      return "vocab.txt";
    case Kind::kSentencePiece:
      break;
  }
  return "tokenizer.model";
}

StatusOr<LegacyTokenizer> From(Kind kind, const LegacyFiles& files) {
  switch (kind) {
    case Kind::kByteLevel:
      return ByteLevelFrom(files);
    case Kind::kWordPiece:
      return WordPieceFrom(files);
    case Kind::kSentencePiece:
      break;
  }
  return SentencePieceFrom(files);
}

}  // namespace

StatusOr<LegacyTokenizer> TokenizerJsonFromLegacy(const LegacyFiles& files) {
  ASSIGN_OR_RETURN(const TokenNames names, ReadTokenNames(files.tokens));
  const std::vector<Kind> kinds = KindsThere(files, names);
  if (kinds.empty())
    return NotFound(
        "the folder has no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, nor "
        "vocab.txt, nor tokenizer.model");
  ASSIGN_OR_RETURN(LegacyTokenizer made, From(kinds[0], files));
  for (size_t i = 1; i < kinds.size(); ++i)
    made.notes.push_back(fmt::format("{} is not used: the tokenizer is read from {}",
                                     FilesOf(kinds[i]), FilesOf(kinds[0])));
  return made;
}

}  // namespace trainyard::worker

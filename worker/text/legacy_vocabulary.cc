#include "worker/text/legacy_vocabulary.h"

#include <map>
#include <vector>

#include "common/files.h"
#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

// As many as a GGUF vocabulary may have.
constexpr int64_t kTokensMax = int64_t{1} << 20;

struct Settings {
  Json config = Json::object();
  std::map<std::string, std::string> special;  // "cls_token" -> "[CLS]"
  std::map<std::string, Json> flags;           // "[MASK]" -> {"lstrip": true}, where a file says so

  std::string Token(const char* name, std::string_view usual) const {
    const auto found = special.find(name);
    return found == special.end() ? std::string(usual) : found->second;
  }
  bool Flag(const char* name, bool otherwise) const {
    const auto found = config.find(name);
    return found != config.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  }
};

StatusOr<Json> ParseObject(std::string_view name, std::optional<std::string_view> text) {
  if (!text.has_value()) return Json::object();
  Json parsed = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return InvalidArgument("{}: not a JSON object", name);
  return parsed;
}

StatusOr<Settings> ReadSettings(const LegacyFiles& files) {
  Settings settings;
  ASSIGN_OR_RETURN(settings.config, ParseObject("tokenizer_config.json", files.tokenizer_config));
  ASSIGN_OR_RETURN(const Json map,
                   ParseObject("special_tokens_map.json", files.special_tokens_map));
  for (const Json* source : {&map, &std::as_const(settings.config)})
    for (const auto& [name, value] : source->items()) {
      if (!name.ends_with("_token")) continue;
      const Json content = value.is_object() ? value.value("content", Json()) : value;
      if (!content.is_string()) continue;
      settings.special[name] = content.get<std::string>();
      if (value.is_object()) settings.flags[settings.special[name]] = value;
    }
  return settings;
}

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

Json SpecialTokens(const Settings& settings, const Json& vocab) {
  std::map<int64_t, std::string> by_id;
  for (const auto& [name, content] : settings.special)
    if (const auto found = vocab.find(content); found != vocab.end())
      by_id.emplace(found->get<int64_t>(), content);
  Json added = Json::array();
  for (const auto& [id, content] : by_id) {
    added.push_back(AddedToken(id, content, true));
    const auto flags = settings.flags.find(content);
    for (const char* name : {"lstrip", "rstrip", "single_word", "normalized"})
      if (flags != settings.flags.end() && flags->second.value(name, Json()).is_boolean())
        added.back()[name] = flags->second[name];
  }
  return added;
}

StatusOr<std::string> WordPieceFrom(std::string_view vocab_txt, Settings settings) {
  RETURN_IF_ERROR(CheckText("vocab.txt", vocab_txt));
  const std::vector<std::string> lines = LinesOf(vocab_txt);
  if (lines.empty() || static_cast<int64_t>(lines.size()) > kTokensMax)
    return InvalidArgument("vocab.txt: {} lines; 1 to {} are possible", lines.size(), kTokensMax);
  Json vocab = Json::object();
  for (size_t id = 0; id < lines.size(); ++id) vocab[lines[id]] = id;
  for (const auto& [name, usual] : {std::pair{"unk_token", "[UNK]"},
                                    {"cls_token", "[CLS]"},
                                    {"sep_token", "[SEP]"},
                                    {"pad_token", "[PAD]"},
                                    {"mask_token", "[MASK]"}}) {
    settings.special.emplace(name, usual);
    if (!vocab.contains(settings.special[name]))
      return InvalidArgument(
          "vocab.txt: the {} \"{}\" is not in it; tokenizer_config.json names it", name,
          settings.special[name]);
  }
  BertOptions bert{.lowercase = settings.Flag("do_lower_case", true),
                   .split_chinese = settings.Flag("tokenize_chinese_chars", true)};
  const auto accents = settings.config.find("strip_accents");
  bert.strip_accents_set = accents != settings.config.end() && accents->is_boolean();
  if (bert.strip_accents_set) bert.strip_accents = accents->get<bool>();
  const auto token = [&](const char* name) {
    const std::string content = settings.special[name];
    return TemplateToken{content, vocab[content].get<int64_t>()};
  };
  Json tokenizer = EmptyTokenizer();
  tokenizer["added_tokens"] = SpecialTokens(settings, vocab);
  tokenizer["normalizer"] = BertNormalizer(bert);
  tokenizer["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  tokenizer["post_processor"] = TemplateProcessing({token("cls_token")}, {token("sep_token")});
  tokenizer["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  tokenizer["model"] = WordPieceModel(std::move(vocab), settings.special["unk_token"]);
  return tokenizer.dump();
}

StatusOr<Json> ReadVocabJson(std::string_view text) {
  ASSIGN_OR_RETURN(Json vocab, ParseObject("vocab.json", text));
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

StatusOr<std::string> ByteLevelFrom(const LegacyFiles& files, Settings settings) {
  ASSIGN_OR_RETURN(Json vocab, ReadVocabJson(*files.vocab_json));
  ASSIGN_OR_RETURN(Json merges, ReadMerges(*files.merges_txt, vocab));
  const bool prefix = settings.Flag("add_prefix_space", false);
  const Json name = settings.config.value("tokenizer_class", Json());
  const bool is_roberta =
      name.is_string() && name.get<std::string>().find("Roberta") != std::string::npos;
  if (!is_roberta) settings.special.emplace("eos_token", "<|endoftext|>");
  if (is_roberta)
    for (const auto& [key, usual] : {std::pair{"cls_token", "<s>"},
                                     {"sep_token", "</s>"},
                                     {"pad_token", "<pad>"},
                                     {"mask_token", "<mask>"},
                                     {"unk_token", "<unk>"}})
      settings.special.emplace(key, usual);
  Json tokenizer = EmptyTokenizer();
  tokenizer["added_tokens"] = SpecialTokens(settings, vocab);
  ASSIGN_OR_RETURN(tokenizer["pre_tokenizer"], PreTokenizerOfName("gpt-2"));
  tokenizer["pre_tokenizer"]["add_prefix_space"] = prefix;
  if (is_roberta) {
    const std::string cls = settings.Token("cls_token", ""), sep = settings.Token("sep_token", "");
    if (!vocab.contains(cls) || !vocab.contains(sep))
      return InvalidArgument("vocab.json: RoBERTa's \"{}\" and \"{}\" are not both in it", cls,
                             sep);
    tokenizer["post_processor"] = {{"type", "RobertaProcessing"},
                                   {"sep", {sep, vocab[sep]}},
                                   {"cls", {cls, vocab[cls]}},
                                   {"trim_offsets", true},
                                   {"add_prefix_space", prefix}};
  }
  tokenizer["decoder"] = ByteLevelDecoder();
  tokenizer["model"] = BpeModel(std::move(vocab), std::move(merges));
  return tokenizer.dump();
}

}  // namespace

StatusOr<std::string> TokenizerJsonFromLegacy(const LegacyFiles& files) {
  ASSIGN_OR_RETURN(Settings settings, ReadSettings(files));
  if (files.vocab_txt.has_value()) return WordPieceFrom(*files.vocab_txt, std::move(settings));
  if (files.vocab_json.has_value() && files.merges_txt.has_value())
    return ByteLevelFrom(files, std::move(settings));
  return NotFound(
      "the folder has no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, nor "
      "vocab.txt");
}

}  // namespace trainyard::worker

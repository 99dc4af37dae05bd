#include "worker/text/special_tokens.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>

#include "worker/text/tokenizer_parts.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

constexpr char kConfig[] = "tokenizer_config.json";
constexpr char kMap[] = "special_tokens_map.json";
constexpr char kAdded[] = "added_tokens.json";
// As many as a GGUF vocabulary may have.
constexpr int64_t kIdsMax = int64_t{1} << 20;
// The order in which transformers gives ids to tokens that have none.
constexpr const char* kStandard[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                     "pad_token", "cls_token", "mask_token"};
// Lists, or objects by name, of special tokens.
constexpr const char* kExtra[] = {"additional_special_tokens", "extra_special_tokens"};

StatusOr<Json> ParseObject(const char* file, std::optional<std::string_view> text) {
  if (!text.has_value()) return Json::object();
  Json parsed = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object())
    return InvalidArgument("{}: not a JSON object; take the model's own file", file);
  return parsed;
}

// A text, or an object with "content" and flags; nothing for null and what is no token.
std::optional<NamedToken> TokenOf(const Json& value) {
  if (value.is_string()) return NamedToken{.content = value.get<std::string>()};
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string())
    return std::nullopt;
  const auto flag = [&](const char* name, bool otherwise) {
    const auto found = value.find(name);
    return found != value.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  return NamedToken{.content = value["content"].get<std::string>(),
                    .lstrip = flag("lstrip", false),
                    .rstrip = flag("rstrip", false),
                    .single_word = flag("single_word", false),
                    .normalized = flag("normalized", false),
                    .special = flag("special", true),
                    .flags_are_ours = false};
}

void AddExtra(const Json& value, TokenNames& names) {
  for (const auto& [key, one] : value.items()) {
    std::optional<NamedToken> token = TokenOf(one);
    if (!token.has_value()) continue;
    token->special = true;
    if (value.is_object()) names.named[key] = *token;
    names.extra.push_back(*std::move(token));
  }
}

// What a file names: its "*_token" keys and its lists. A later file goes before an earlier one.
void AddNamed(const Json& file, TokenNames& names) {
  for (const auto& [key, value] : file.items()) {
    if (!key.ends_with("_token")) continue;
    if (value.is_null()) names.named.erase(key);
    if (std::optional<NamedToken> token = TokenOf(value)) {
      token->special = true;
      names.named[key] = *std::move(token);
    }
  }
  for (const char* key : kExtra)
    if (file.contains(key) && file[key].is_structured()) AddExtra(file[key], names);
}

std::optional<int64_t> NumberOf(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Status AddById(const char* file, std::optional<int64_t> id, std::optional<NamedToken> token,
               const std::string& says, TokenNames& names) {
  if (!id.has_value() || *id < 0 || *id >= kIdsMax || !token.has_value() || token->content.empty())
    return InvalidArgument("{}: {} is not a token with an id of 0 to {}", file, says, kIdsMax - 1);
  const auto [place, is_new] = names.by_id.emplace(*id, *token);
  if (!is_new && place->second.content != token->content)
    return InvalidArgument("{}: \"{}\" and \"{}\" have the same id {}", file, place->second.content,
                           token->content, *id);
  return OkStatus();
}

Status ReadDecoder(const Json& decoder, TokenNames& names) {
  if (!decoder.is_object())
    return InvalidArgument("{}: added_tokens_decoder is not an object", kConfig);
  for (const auto& [id, value] : decoder.items()) {
    std::optional<NamedToken> token = TokenOf(value);
    // AddedToken's own defaults.
    if (token.has_value() && value.is_object()) {
      token->special = value.value("special", Json()) == true;
      if (!value.contains("normalized")) token->normalized = !token->special;
    }
    RETURN_IF_ERROR(AddById(kConfig, NumberOf(id), std::move(token),
                            fmt::format("added_tokens_decoder[\"{}\"]", id), names));
  }
  return OkStatus();
}

bool IsNamed(const TokenNames& names, const std::string& content) {
  const auto is = [&](const NamedToken& token) { return token.content == content; };
  return std::any_of(names.named.begin(), names.named.end(),
                     [&](const auto& one) { return is(one.second); }) ||
         std::any_of(names.extra.begin(), names.extra.end(), is);
}

Status ReadAdded(const Json& file, TokenNames& names) {
  for (const auto& [content, id] : file.items()) {
    const bool special = IsNamed(names, content);
    RETURN_IF_ERROR(
        AddById(kAdded, id.is_number_integer() ? std::optional(id.get<int64_t>()) : std::nullopt,
                NamedToken{.content = content, .normalized = !special, .special = special},
                fmt::format("\"{}\": {}", content, id.dump()), names));
  }
  return OkStatus();
}

// What special_tokens_map.json says otherwise than what goes before it.
void NoteUnusedMap(const Json& map, TokenNames& names) {
  TokenNames of_map;
  AddNamed(map, of_map);
  for (const auto& [key, token] : of_map.named) {
    const auto found = names.named.find(key);
    if (found != names.named.end() && found->second.content == token.content) continue;
    names.notes.push_back(fmt::format(
        "{}: its {} \"{}\" is not used: {} has added_tokens_decoder and goes first, with {}", kMap,
        key, token.content, kConfig,
        found == names.named.end() ? "none" : fmt::format("\"{}\"", found->second.content)));
  }
}

void NoteUnusedAdded(const Json& added, TokenNames& names) {
  for (const auto& [content, id] : added.items()) {
    const auto found =
        id.is_number_integer() ? names.by_id.find(id.get<int64_t>()) : names.by_id.end();
    if (found != names.by_id.end() && found->second.content == content) continue;
    names.notes.push_back(
        fmt::format("{}: \"{}\" with the id {} is not used: {} has added_tokens_decoder and goes "
                    "first",
                    kAdded, content, id.dump(), kConfig));
  }
}

// A named token that has flags under its id has those.
void TakeFlagsById(TokenNames& names) {
  std::map<std::string, const NamedToken*> by_content;
  for (const auto& [id, token] : names.by_id) by_content[token.content] = &token;
  const auto take = [&](NamedToken& token) {
    const auto found = by_content.find(token.content);
    if (found == by_content.end() || !token.flags_are_ours) return;
    token = *found->second;
    token.special = true;
  };
  for (auto& [key, token] : names.named) take(token);
  for (NamedToken& token : names.extra) take(token);
}

Json AddedJson(int64_t id, const NamedToken& token) {
  Json json = AddedToken(id, token.content, token.special);
  json["lstrip"] = token.lstrip;
  json["rstrip"] = token.rstrip;
  json["single_word"] = token.single_word;
  json["normalized"] = token.normalized;
  return json;
}

// In the order in which ids are given: those with an id, the standard names, the rest.
std::vector<std::pair<std::optional<int64_t>, NamedToken>> AllTokens(const TokenNames& names) {
  std::vector<std::pair<std::optional<int64_t>, NamedToken>> all;
  std::set<std::string> seen;
  const auto add = [&](std::optional<int64_t> id, const NamedToken& token) {
    if (!token.content.empty() && seen.insert(token.content).second) all.emplace_back(id, token);
  };
  for (const auto& [id, token] : names.by_id) {
    add(id, token);
    // Named tokens are special, whatever is said under their id.
    if (!all.empty() && all.back().second.content == token.content && IsNamed(names, token.content))
      all.back().second.special = true;
  }
  for (const char* key : kStandard)
    if (const auto found = names.named.find(key); found != names.named.end())
      add(std::nullopt, found->second);
  for (const auto& [key, token] : names.named) add(std::nullopt, token);
  for (const NamedToken& token : names.extra) add(std::nullopt, token);
  return all;
}

// Takes out of `tokens`, texts as JSON has them, those that stand under a "content" of a
// tokenizer.json: one look over the file, which is large, and only until all are found.
void RemoveThoseThere(std::string_view tokenizer_json, std::set<std::string, std::less<>>& tokens) {
  constexpr std::string_view kKey = "\"content\"";
  constexpr std::string_view kBetween = ": \t\r\n";
  size_t at = 0;
  while (!tokens.empty() && (at = tokenizer_json.find(kKey, at)) != std::string_view::npos) {
    at = tokenizer_json.find_first_not_of(kBetween, at + kKey.size());
    if (at == std::string_view::npos || tokenizer_json[at] != '"') continue;
    size_t end = at + 1;
    while (end < tokenizer_json.size() && tokenizer_json[end] != '"')
      end += tokenizer_json[end] == '\\' ? 2 : 1;
    if (end >= tokenizer_json.size()) return;
    const auto found = tokens.find(tokenizer_json.substr(at, end + 1 - at));
    if (found != tokens.end()) tokens.erase(found);
    at = end + 1;
  }
}

// The ids of a tokenizer.json's tokens, of its vocabulary and added ones.
StatusOr<std::map<std::string, int64_t>> IdsOf(const ordered_json& tokenizer) {
  const Status broken = InvalidArgument(
      "tokenizer.json: not JSON with a \"model\" that has a \"vocab\", and \"added_tokens\" with "
      "content and id");
  std::map<std::string, int64_t> ids;
  if (!tokenizer.is_object() || !tokenizer.contains("model") || !tokenizer["model"].is_object() ||
      !tokenizer["model"].contains("vocab") ||
      !tokenizer.value("added_tokens", ordered_json::array()).is_array())
    return broken;
  const ordered_json& vocab = tokenizer["model"]["vocab"];
  if (vocab.is_array()) {
    for (size_t id = 0; id < vocab.size(); ++id)
      if (vocab[id].is_array() && !vocab[id].empty() && vocab[id][0].is_string())
        ids.emplace(vocab[id][0].get<std::string>(), static_cast<int64_t>(id));
  } else {
    for (const auto& [token, id] : vocab.items())
      if (id.is_number_integer()) ids.emplace(token, id.get<int64_t>());
  }
  for (const ordered_json& one : tokenizer.value("added_tokens", ordered_json::array())) {
    if (!one.is_object() || !one.value("content", ordered_json()).is_string() ||
        !one.value("id", ordered_json()).is_number_integer())
      return broken;
    ids.emplace(one["content"].get<std::string>(), one["id"].get<int64_t>());
  }
  return ids;
}

}  // namespace

StatusOr<TokenNames> ReadTokenNames(const TokenFiles& files) {
  TokenNames names;
  ASSIGN_OR_RETURN(names.config, ParseObject(kConfig, files.tokenizer_config));
  ASSIGN_OR_RETURN(const Json map, ParseObject(kMap, files.special_tokens_map));
  ASSIGN_OR_RETURN(const Json added, ParseObject(kAdded, files.added_tokens));
  AddNamed(names.config, names);
  if (names.config.contains("added_tokens_decoder")) {
    RETURN_IF_ERROR(ReadDecoder(names.config["added_tokens_decoder"], names));
    NoteUnusedMap(map, names);
    NoteUnusedAdded(added, names);
  } else {
    AddNamed(map, names);
    RETURN_IF_ERROR(ReadAdded(added, names));
  }
  TakeFlagsById(names);
  return names;
}

Status AddNamedTokens(const TokenNames& names, Json& vocab, Json& added_tokens,
                      std::vector<std::string>& notes) {
  std::map<int64_t, std::string> token_of;
  for (const auto& [token, id] : vocab.items()) token_of.emplace(id.get<int64_t>(), token);
  std::map<int64_t, Json> by_id;
  std::map<int64_t, std::string> absent;  // from the vocabulary
  for (const auto& [wanted, token] : AllTokens(names)) {
    int64_t id = wanted.value_or(token_of.empty() ? 0 : token_of.rbegin()->first + 1);
    if (const auto found = vocab.find(token.content); found != vocab.end()) {
      id = found->get<int64_t>();
      if (wanted.value_or(id) != id)
        notes.push_back(
            fmt::format("the id {} of the added token \"{}\" is not used: the "
                        "vocabulary has it at {}",
                        *wanted, token.content, id));
    } else {
      const auto [holder, is_new] = token_of.emplace(id, token.content);
      if (!is_new)
        return InvalidArgument(
            "the added token \"{}\" has the id {}, which the vocabulary has for \"{}\"",
            token.content, id, holder->second);
      absent.emplace(id, token.content);
    }
    by_id.emplace(id, AddedJson(id, token));
  }
  // The library counts on from the vocabulary's size; what it would count otherwise goes in.
  if (!token_of.empty() && token_of.rbegin()->first + 1 != std::ssize(token_of))
    for (const auto& [id, token] : absent) vocab[token] = id;
  for (auto& [id, json] : by_id) added_tokens.push_back(std::move(json));
  return OkStatus();
}

StatusOr<std::string> WithNamedTokens(std::string_view tokenizer_json, TokenNames& names) {
  const auto tokens = AllTokens(names);
  std::set<std::string, std::less<>> missing;
  for (const auto& one : tokens) missing.insert(Json(one.second.content).dump());
  RemoveThoseThere(tokenizer_json, missing);
  if (missing.empty()) return std::string(tokenizer_json);
  ordered_json tokenizer = ordered_json::parse(tokenizer_json, nullptr, /*allow_exceptions=*/false);
  ASSIGN_OR_RETURN(const auto ids, IdsOf(tokenizer));
  std::set<std::string> added;
  std::map<int64_t, ordered_json> by_id;
  for (ordered_json& one : tokenizer["added_tokens"]) {
    added.insert(one["content"].get<std::string>());
    by_id.emplace(one["id"].get<int64_t>(), std::move(one));
  }
  int64_t next = 0;
  for (const auto& [token, id] : ids) next = std::max(next, id + 1);
  bool changed = false;
  for (const auto& [wanted, token] : tokens) {
    if (added.contains(token.content)) continue;
    const auto found = ids.find(token.content);
    const int64_t id = found != ids.end() ? found->second : next++;
    if (wanted.value_or(id) != id)
      names.notes.push_back(
          fmt::format("the id {} of the added token \"{}\" is not used: "
                      "tokenizer.json has it at {}",
                      *wanted, token.content, id));
    changed = by_id.emplace(id, AddedJson(id, token)).second || changed;
  }
  if (!changed) return std::string(tokenizer_json);
  tokenizer["added_tokens"] = ordered_json::array();
  for (auto& [id, json] : by_id) tokenizer["added_tokens"].push_back(std::move(json));
  return tokenizer.dump();
}

}  // namespace trainyard::worker

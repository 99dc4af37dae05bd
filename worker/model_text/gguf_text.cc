#include "worker/model_text/gguf_text.h"

#include <absl/strings/ascii.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>

#include "common/job_spec/local_model.h"
#include "worker/checkpoint/model_folder.h"
#include "worker/model_text/end_tokens.h"
#include "worker/text/chat_template.h"
#include "worker/text/gguf_vocabulary.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using nlohmann::json;

constexpr char kTemplate[] = "tokenizer.chat_template";
constexpr char kTemplateNames[] = "tokenizer.chat_templates";
std::string Key(std::string_view name) { return fmt::format("tokenizer.ggml.{}", name); }

// The one list of the ids: a GGUF key, its place in a vocabulary, what Hugging Face calls the
// token. (llama.cpp spells "seperator".)
struct IdRow {
  const char* gguf;
  std::optional<int32_t> GgufVocabulary::*id;
  std::optional<int32_t> SpecialTokenIds::*special;
  SpecialToken TokenizerContents::*token;
  const char* hf;
};
constexpr IdRow kIds[] = {{"bos_token_id", &GgufVocabulary::bos_id, &SpecialTokenIds::bos,
                           &TokenizerContents::bos, "bos"},
                          {"eos_token_id", &GgufVocabulary::eos_id, &SpecialTokenIds::eos,
                           &TokenizerContents::eos, "eos"},
                          {"unknown_token_id", &GgufVocabulary::unk_id, &SpecialTokenIds::unk,
                           &TokenizerContents::unk, "unk"},
                          {"seperator_token_id", &GgufVocabulary::sep_id, &SpecialTokenIds::sep,
                           &TokenizerContents::sep, "sep"},
                          {"padding_token_id", &GgufVocabulary::pad_id, &SpecialTokenIds::pad,
                           &TokenizerContents::pad, "pad"},
                          {"cls_token_id", &GgufVocabulary::cls_id, &SpecialTokenIds::cls,
                           &TokenizerContents::cls, "cls"},
                          {"mask_token_id", &GgufVocabulary::mask_id, &SpecialTokenIds::mask,
                           &TokenizerContents::mask, "mask"}};

// Further ends of an answer: of a turn, of a message that goes on with a tool's.
constexpr const char* kEndKeys[] = {"eot_token_id", "eom_token_id"};

struct FlagRow {
  const char* gguf;
  std::optional<bool> GgufVocabulary::*flag;
};
constexpr FlagRow kFlags[] = {{"add_bos_token", &GgufVocabulary::add_bos},
                              {"add_eos_token", &GgufVocabulary::add_eos},
                              {"add_space_prefix", &GgufVocabulary::add_space_prefix}};

// An id of the vocabulary; nothing where the file has no such key.
StatusOr<std::optional<int32_t>> IdOf(const GgufMetadata& metadata, const char* name,
                                      size_t tokens) {
  if (!metadata.Has(Key(name))) return std::optional<int32_t>();
  ASSIGN_OR_RETURN(const int64_t id, metadata.Integer(Key(name)));
  // Some files say 2^32 - 1 for "there is none".
  if (id == std::numeric_limits<uint32_t>::max()) return std::optional<int32_t>();
  if (id < 0 || id >= static_cast<int64_t>(tokens))
    return InvalidArgument("{} is {}, but there are {} tokens", Key(name), id, tokens);
  return std::optional<int32_t>(static_cast<int32_t>(id));
}

// What ends an answer, the file's eos first.
StatusOr<std::vector<int32_t>> EndsOf(const GgufMetadata& metadata,
                                      const GgufVocabulary& vocabulary) {
  std::vector<int32_t> ends;
  const auto add = [&](int32_t id) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  if (vocabulary.eos_id.has_value()) add(*vocabulary.eos_id);
  for (const char* key : kEndKeys) {
    ASSIGN_OR_RETURN(const std::optional<int32_t> id,
                     IdOf(metadata, key, vocabulary.tokens.size()));
    if (id.has_value()) add(*id);
  }
  for (const int32_t id : EndTokensByName(vocabulary.tokens)) add(id);
  return ends;
}

// llama.cpp's word for a model without a tokenizer is "no_vocab", or "none".
bool HasVocabulary(const GgufMetadata& metadata) {
  if (!metadata.Has(Key("model"))) return false;
  const StatusOr<std::string> model = metadata.Text(Key("model"));
  return !model.ok() || (*model != "no_vocab" && *model != "none");
}

StatusOr<GgufVocabulary> ReadVocabulary(const GgufMetadata& metadata) {
  GgufVocabulary vocabulary;
  ASSIGN_OR_RETURN(vocabulary.model, metadata.Text(Key("model")));
  ASSIGN_OR_RETURN(vocabulary.tokens, metadata.Texts(Key("tokens")));
  if (metadata.Has(Key("pre"))) {
    ASSIGN_OR_RETURN(vocabulary.pre, metadata.Text(Key("pre")));
  }
  if (metadata.Has(Key("merges"))) {
    ASSIGN_OR_RETURN(vocabulary.merges, metadata.Texts(Key("merges")));
  }
  if (metadata.Has(Key("token_type"))) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> types, metadata.Integers(Key("token_type")));
    // What does not fit is no type, and refused as such.
    for (const int64_t type : types)
      vocabulary.token_types.push_back(type >= 0 && type <= 255 ? static_cast<int32_t>(type) : -1);
  }
  if (metadata.Has(Key("scores"))) {
    ASSIGN_OR_RETURN(const std::vector<double> scores, metadata.Reals(Key("scores")));
    vocabulary.scores.assign(scores.begin(), scores.end());
  }
  for (const IdRow& row : kIds) {
    ASSIGN_OR_RETURN(vocabulary.*row.id, IdOf(metadata, row.gguf, vocabulary.tokens.size()));
  }
  for (const FlagRow& row : kFlags) {
    if (!metadata.Has(Key(row.gguf))) continue;
    ASSIGN_OR_RETURN(vocabulary.*row.flag, metadata.Bool(Key(row.gguf)));
  }
  return vocabulary;
}

std::string Dump(const nlohmann::ordered_json& document) {
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::optional<int32_t> IdOfConfig(const nlohmann::ordered_json& config, const std::string& key) {
  if (!config.contains(key)) return std::nullopt;
  const auto& id = config[key].is_array() && !config[key].empty() ? config[key][0] : config[key];
  if (!id.is_number_integer()) return std::nullopt;
  const auto number = id.get<int64_t>();
  if (number < 0 || number > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return static_cast<int32_t>(number);
}

GgufWriter::Keys KeysOf(const GgufVocabulary& vocabulary) {
  GgufWriter::Keys keys = {{Key("model"), GgufString(vocabulary.model)}};
  if (!vocabulary.pre.empty()) keys.push_back({Key("pre"), GgufString(vocabulary.pre)});
  keys.push_back({Key("tokens"), GgufStrings(vocabulary.tokens)});
  const auto& types = vocabulary.token_types;
  if (!types.empty()) keys.push_back({Key("token_type"), GgufInt32s({types.begin(), types.end()})});
  const auto& scores = vocabulary.scores;
  if (!scores.empty())
    keys.push_back({Key("scores"), GgufFloat32s({scores.begin(), scores.end()})});
  if (!vocabulary.merges.empty()) keys.push_back({Key("merges"), GgufStrings(vocabulary.merges)});
  for (const IdRow& row : kIds)
    if (const auto id = vocabulary.*row.id)
      keys.push_back({Key(row.gguf), GgufUint32(static_cast<uint32_t>(*id))});
  for (const FlagRow& row : kFlags)
    if (const auto flag = vocabulary.*row.flag) keys.push_back({Key(row.gguf), GgufBool(*flag)});
  return keys;
}

// The ends of an answer that llama.cpp does not find by eos_token_id and by their names; it has
// places for two.
void AddEndKeys(const std::vector<int32_t>& ends, const GgufVocabulary& vocabulary,
                GgufWriter::Keys& keys) {
  const std::vector<int32_t> known = EndTokensByName(vocabulary.tokens);
  size_t next = 0;
  for (const int32_t id : ends) {
    const bool is_known =
        id == vocabulary.eos_id || std::find(known.begin(), known.end(), id) != known.end();
    if (is_known || next == std::size(kEndKeys)) continue;
    keys.push_back({Key(kEndKeys[next++]), GgufUint32(static_cast<uint32_t>(id))});
  }
}

// Names as the gguf package writes them: other characters are underscores there.
std::string TemplateKey(std::string_view name) {
  std::string plain(name);
  for (char& c : plain)
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '_';
  return plain;
}

Status AddTemplateKeys(const std::vector<SmallFile>& files, GgufWriter::Keys& keys) {
  ASSIGN_OR_RETURN(const std::vector<NamedTemplate> templates,
                   ChatTemplatesOf(TemplateFilesOf(files)));
  std::vector<std::string> names;
  for (const NamedTemplate& one : templates) {
    if (one.name == "default") {
      keys.push_back({kTemplate, GgufString(one.source)});
      continue;
    }
    const std::string name = TemplateKey(one.name);
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end())
      return InvalidArgument(
          "the chat template \"{}\" has no name of its own in a GGUF file, where it is \"{}\": "
          "rename it",
          one.name, name);
    names.push_back(name);
    keys.push_back({fmt::format("{}.{}", kTemplate, name), GgufString(one.source)});
  }
  if (!names.empty()) keys.push_back({kTemplateNames, GgufStrings(names)});
  return OkStatus();
}

// The default one, and those that tokenizer.chat_templates names.
Status AddTemplates(const GgufMetadata& metadata, std::vector<SmallFile>& files) {
  if (metadata.Has(kTemplate)) {
    ASSIGN_OR_RETURN(std::string source, metadata.Text(kTemplate));
    files.push_back({"chat_template.jinja", std::move(source)});
  }
  if (!metadata.Has(kTemplateNames)) return OkStatus();
  ASSIGN_OR_RETURN(std::vector<std::string> names, metadata.Texts(kTemplateNames));
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    const std::string key = fmt::format("{}.{}", kTemplate, name);
    if (!IsPlainFileName(name) || name == "default" || !metadata.Has(key)) {
      std::fprintf(
          stderr,
          "note: %s names \"%s\", which is not used: there is no %s, or it is no name of a file\n",
          kTemplateNames, name.c_str(), key.c_str());
      continue;
    }
    ASSIGN_OR_RETURN(std::string source, metadata.Text(key));
    files.push_back({fmt::format("{}/{}.jinja", kTemplatesFolder, name), std::move(source)});
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::vector<SmallFile>> TextFromGguf(const GgufMetadata& metadata, int64_t max_positions) {
  std::vector<SmallFile> files;
  if (HasVocabulary(metadata)) {
    ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadVocabulary(metadata));
    TokenizerContents contents{.max_length = max_positions};
    ASSIGN_OR_RETURN(contents.tokenizer_json, TokenizerJsonFromGguf(vocabulary));
    for (const IdRow& row : kIds)
      if (const auto id = vocabulary.*row.id)
        contents.*row.token = {vocabulary.tokens[static_cast<size_t>(*id)], *id};
    files.push_back({"tokenizer_config.json", Dump(TokenizerConfigJson(contents))});
    nlohmann::ordered_json generation = GenerationConfigJson(contents);
    ASSIGN_OR_RETURN(const std::vector<int32_t> ends, EndsOf(metadata, vocabulary));
    if (ends.size() == 1) generation["eos_token_id"] = ends.front();
    if (ends.size() > 1) generation["eos_token_id"] = ends;
    files.push_back({"generation_config.json", Dump(generation)});
    files.push_back({"tokenizer.json", std::move(contents.tokenizer_json)});
  }
  RETURN_IF_ERROR(AddTemplates(metadata, files));
  return files;
}

StatusOr<GgufWriter::Keys> GgufTextKeys(const std::vector<SmallFile>& files,
                                        const nlohmann::ordered_json& config) {
  GgufWriter::Keys keys;
  if (const std::string* tokenizer_json = FindFile(files, "tokenizer.json")) {
    ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(*tokenizer_json));
    ASSIGN_OR_RETURN(const TokenNames names, ReadTokenNames(TokenFilesOf(files)));
    SpecialTokenIds special;
    for (const IdRow& row : kIds) {
      const auto named = names.named.find(fmt::format("{}_token", row.hf));
      if (named != names.named.end())
        special.*row.special = tokenizer.TokenToId(named->second.content);
      if (!(special.*row.special).has_value())
        special.*row.special = IdOfConfig(config, fmt::format("{}_token_id", row.hf));
    }
    ASSIGN_OR_RETURN(const GgufVocabulary vocabulary,
                     GgufFromTokenizerJson(*tokenizer_json, special));
    for (const std::string& note : vocabulary.notes)
      std::fprintf(stderr, "note: tokenizer.json: %s\n", note.c_str());
    keys = KeysOf(vocabulary);
    AddEndKeys(EndTokens(config, files, tokenizer, std::ssize(vocabulary.tokens), nullptr, {}),
               vocabulary, keys);
  }
  RETURN_IF_ERROR(AddTemplateKeys(files, keys));
  return keys;
}

}  // namespace trainyard::worker

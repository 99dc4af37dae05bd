#include "worker/model_text/model_text.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>
#include <system_error>

#include "common/files.h"
#include "common/job_spec/local_model.h"
#include "worker/checkpoint/model_folder.h"
#include "worker/model_text/gguf_text.h"
#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

constexpr const char* kFiles[] = {"tokenizer.json",
                                  "tokenizer_config.json",
                                  "special_tokens_map.json",
                                  "added_tokens.json",
                                  "vocab.json",
                                  "merges.txt",
                                  "vocab.txt",
                                  "tokenizer.model",
                                  "chat_template.jinja",
                                  "chat_template.json",
                                  "generation_config.json",
                                  "README.md",
                                  "LICENSE"};
constexpr int64_t kFileBytesMax = int64_t{256} << 20;
constexpr size_t kTemplatesMax = 64;

std::optional<std::string_view> TextOf(const std::vector<SmallFile>& files, std::string_view name) {
  const std::string* found = FindFile(files, name);
  return found == nullptr ? std::nullopt : std::optional<std::string_view>(*found);
}

void SayNotes(const std::filesystem::path& folder, const std::vector<std::string>& notes) {
  for (const std::string& note : notes)
    std::fprintf(stderr, "note: %s: %s\n", folder.c_str(), note.c_str());
}

// What config.json says of the tokenizer.
struct ModelNames {
  std::string type, tokenizer_class;
};

ModelNames NamesOf(const nlohmann::ordered_json& config) {
  const auto text = [&](const char* key) {
    const auto found = config.find(key);
    return found != config.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return {text("model_type"), text("tokenizer_class")};
}

// A tokenizer_config.json for a vocabulary that has none beside it.
std::string ConfigOf(const LegacyTokenizer& made) {
  TokenizerContents contents;
  const std::pair<const char*, SpecialToken TokenizerContents::*> tokens[] = {
      {"bos_token", &TokenizerContents::bos},  {"eos_token", &TokenizerContents::eos},
      {"pad_token", &TokenizerContents::pad},  {"unk_token", &TokenizerContents::unk},
      {"cls_token", &TokenizerContents::cls},  {"sep_token", &TokenizerContents::sep},
      {"mask_token", &TokenizerContents::mask}};
  for (const auto& [name, place] : tokens)
    if (const auto found = made.special_tokens.find(name); found != made.special_tokens.end())
      (contents.*place).text = found->second;
  return TokenizerConfigJson(contents).dump(2) + "\n";
}

// tokenizer.json of a folder that has only the files from before it; nothing when it has none.
Status AddFromLegacy(const std::filesystem::path& folder, const ModelNames& model,
                     std::vector<SmallFile>* files) {
  StatusOr<LegacyTokenizer> made =
      TokenizerJsonFromLegacy({.vocab_json = TextOf(*files, "vocab.json"),
                               .merges_txt = TextOf(*files, "merges.txt"),
                               .vocab_txt = TextOf(*files, "vocab.txt"),
                               .tokenizer_model = TextOf(*files, "tokenizer.model"),
                               .tokens = TokenFilesOf(*files),
                               .model_type = model.type,
                               .model_tokenizer_class = model.tokenizer_class});
  if (absl::IsNotFound(made.status())) return OkStatus();
  RETURN_IF_ERROR(made.status());
  SayNotes(folder, made->notes);
  if (FindFile(*files, "tokenizer_config.json") == nullptr)
    files->push_back({"tokenizer_config.json", ConfigOf(*made)});
  files->push_back({"tokenizer.json", std::move(made->tokenizer_json)});
  return OkStatus();
}

// The tokens that the files beside a tokenizer.json name and it does not.
Status AddNamed(const std::filesystem::path& folder, std::vector<SmallFile>* files) {
  ASSIGN_OR_RETURN(TokenNames names, ReadTokenNames(TokenFilesOf(*files)));
  for (SmallFile& file : *files) {
    if (file.name != "tokenizer.json") continue;
    ASSIGN_OR_RETURN(file.text, WithNamedTokens(file.text, names));
  }
  SayNotes(folder, names.notes);
  return OkStatus();
}

// The files of additional_chat_templates, in the order of their names.
Status AddTemplates(const std::filesystem::path& folder, std::vector<SmallFile>* files) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(folder / kTemplatesFolder, error), end;
       !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".jinja") names.push_back(entry->path().filename().string());
  if (error) return OkStatus();  // there is no such folder
  std::sort(names.begin(), names.end());
  if (names.size() > kTemplatesMax)
    return InvalidArgument("{} holds {} templates; {} are the most", kTemplatesFolder, names.size(),
                           kTemplatesMax);
  for (const std::string& name : names) {
    if (!IsPlainFileName(name)) {
      SayNotes(folder, {fmt::format("{}/{} is not used: the name of a template has A to Z, a to z, "
                                    "0 to 9, dots, dashes and underscores",
                                    kTemplatesFolder, name)});
      continue;
    }
    ASSIGN_OR_RETURN(std::string text, ReadFile(folder / kTemplatesFolder / name, kFileBytesMax));
    files->push_back({fmt::format("{}/{}", kTemplatesFolder, name), std::move(text)});
  }
  return OkStatus();
}

// A processor's template file, which transformers' tokenizers do not read either.
Status NoteProcessorsTemplate(const std::filesystem::path& folder,
                              const std::vector<SmallFile>& files) {
  if (FindFile(files, "chat_template.json") == nullptr) return OkStatus();
  ASSIGN_OR_RETURN(const std::vector<NamedTemplate> templates,
                   ChatTemplatesOf(TemplateFilesOf(files)));
  if (templates.empty())
    SayNotes(folder,
             {"chat_template.json is not used: it is of a processor; a tokenizer's template "
              "is chat_template.jinja"});
  return OkStatus();
}

StatusOr<std::vector<SmallFile>> ReadFolder(const std::filesystem::path& folder,
                                            const ModelNames& model) {
  std::vector<SmallFile> files;
  for (const char* name : kFiles) {
    StatusOr<std::string> text = ReadFile(folder / name, kFileBytesMax);
    if (absl::IsNotFound(text.status())) continue;
    RETURN_IF_ERROR(text.status());
    files.push_back({name, *std::move(text)});
  }
  const Status done = [&] {
    RETURN_IF_ERROR(AddTemplates(folder, &files));
    RETURN_IF_ERROR(NoteProcessorsTemplate(folder, files));
    return FindFile(files, "tokenizer.json") != nullptr ? AddNamed(folder, &files)
                                                        : AddFromLegacy(folder, model, &files);
  }();
  if (!done.ok()) return Annotate(done, folder.string());
  return files;
}

// The ids of tokenizer.json's added_tokens. The crate has already read it, so it parses.
std::set<int64_t> AddedIds(const std::string& tokenizer_json) {
  const auto json = nlohmann::json::parse(tokenizer_json, nullptr, /*allow_exceptions=*/false);
  std::set<int64_t> ids;
  if (!json.is_object() || !json.contains("added_tokens")) return ids;
  for (const auto& token : json["added_tokens"])
    if (token.contains("id") && token["id"].is_number_integer())
      ids.insert(token["id"].get<int64_t>());
  return ids;
}

}  // namespace

const std::string* FindFile(const std::vector<SmallFile>& files, std::string_view name) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const SmallFile& file) { return file.name == name; });
  return found == files.end() ? nullptr : &found->text;
}

StatusOr<std::vector<SmallFile>> ReadModelText(const ModelSource& source) {
  if (source.gguf() == nullptr) return ReadFolder(source.path(), NamesOf(source.config()));
  const nlohmann::ordered_json& config = source.config();
  const int64_t positions =
      config.value("max_position_embeddings", config.value("n_positions", int64_t{0}));
  auto files = TextFromGguf(source.gguf()->metadata(), positions);
  if (!files.ok()) return Annotate(files.status(), source.path().string());
  return files;
}

StatusOr<std::vector<SmallFile>> ReadTokenizerFolder(const std::filesystem::path& folder) {
  const StatusOr<std::string> text = ReadFile(folder / "config.json", kFileBytesMax);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  const auto config = nlohmann::ordered_json::parse(text.ok() ? *text : "{}", nullptr,
                                                    /*allow_exceptions=*/false);
  if (!config.is_object())
    return InvalidArgument("{}: not a JSON object", (folder / "config.json").string());
  return ReadFolder(folder, NamesOf(config));
}

TokenFiles TokenFilesOf(const std::vector<SmallFile>& files) {
  return {.tokenizer_config = TextOf(files, "tokenizer_config.json"),
          .special_tokens_map = TextOf(files, "special_tokens_map.json"),
          .added_tokens = TextOf(files, "added_tokens.json")};
}

TemplateFiles TemplateFilesOf(const std::vector<SmallFile>& files) {
  TemplateFiles found{.jinja_file = TextOf(files, "chat_template.jinja"),
                      .tokenizer_config = TextOf(files, "tokenizer_config.json")};
  for (const SmallFile& file : files) {
    const std::filesystem::path path(file.name);
    if (path.parent_path() == kTemplatesFolder)
      found.additional.push_back({path.stem().string(), file.text});
  }
  return found;
}

StatusOr<std::string> ChatTemplateOf(const std::vector<SmallFile>& files, bool with_tools,
                                     std::string_view name) {
  TemplateFiles found = TemplateFilesOf(files);
  return ChooseChatTemplate({.jinja_file = found.jinja_file,
                             .tokenizer_config = found.tokenizer_config,
                             .name = name,
                             .with_tools = with_tools,
                             .additional = std::move(found.additional)});
}

Status CheckVocabulary(const std::vector<SmallFile>& files, int64_t embedding_rows) {
  const std::string* json = FindFile(files, "tokenizer.json");
  if (json == nullptr) return OkStatus();
  const StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), "tokenizer.json");
  return CheckVocabulary(*tokenizer, embedding_rows);
}

Status CheckVocabulary(const Tokenizer& tokenizer, int64_t embedding_rows) {
  if (tokenizer.vocab_size() <= embedding_rows) return OkStatus();
  const std::set<int64_t> added = AddedIds(tokenizer.json());
  bool all_added = true;
  for (int64_t id = embedding_rows; id < tokenizer.vocab_size(); ++id)
    all_added =
        all_added && (added.contains(id) || !tokenizer.IdToToken(static_cast<int32_t>(id)).ok());
  if (!all_added)
    return InvalidArgument(
        "the tokenizer has {} ids, but the embedding has {} rows: they are not of one model",
        tokenizer.vocab_size(), embedding_rows);
  std::fprintf(stderr, "note: %lld added tokens of the tokenizer have no row in the embedding\n",
               static_cast<long long>(tokenizer.vocab_size() - embedding_rows));
  return OkStatus();
}

}  // namespace trainyard::worker

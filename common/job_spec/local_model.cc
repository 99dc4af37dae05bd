#include "common/job_spec/local_model.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "common/blob_store.h"
#include "common/files.h"

namespace trainyard {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kIndexBytesMax = int64_t{64} << 20;
constexpr size_t kShardsMax = 5000;

// Of the tokenizer, in a model's folder.
constexpr std::array kTokenizerFiles = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "tokenizer.model",
                                        "chat_template.jinja",
                                        "chat_template.json"};

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string WorkingFolder() {
  std::error_code ignored;
  return fs::current_path(ignored).string();
}

// The shards that an index names, each once.
StatusOr<std::vector<fs::path>> ShardsOf(const fs::path& index) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(index, kIndexBytesMax));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return InvalidArgument("{}: it has no weight_map", index.string());
  std::set<std::string> names;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>()))
      return InvalidArgument("{}: the shard of {} is {}, which is no plain file name",
                             index.string(), tensor, shard.dump());
    names.insert(shard.get<std::string>());
  }
  if (names.empty() || names.size() > kShardsMax)
    return InvalidArgument("{}: it names {} shards; 1 to {} are read", index.string(), names.size(),
                           kShardsMax);
  std::vector<fs::path> shards;
  for (const std::string& name : names) {
    shards.push_back(index.parent_path() / name);
    if (!IsFile(shards.back()))
      return NotFound("{} names the shard {}, which is not there: fetch the whole folder",
                      index.string(), name);
  }
  return shards;
}

std::string HubHint(const std::string& name) {
  if (!LooksLikeHubName(name)) return "";
  return fmt::format(
      "; nothing is fetched from the Hugging Face Hub: for the model of this name run `hf download "
      "{} --local-dir {}`, then name that folder",
      name, name.substr(name.find('/') + 1));
}

void AddThoseThere(const fs::path& folder, std::vector<fs::path>* files) {
  for (const char* name : kTokenizerFiles)
    if (IsFile(folder / name)) files->push_back(folder / name);
  std::vector<fs::path> templates;
  std::error_code error;
  for (fs::directory_iterator entry(folder / kTemplatesFolder, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->path().extension() == ".jinja" && IsFile(entry->path()) &&
        IsPlainFileName(entry->path().filename().string()))
      templates.push_back(entry->path());
  std::sort(templates.begin(), templates.end());
  files->insert(files->end(), templates.begin(), templates.end());
}

bool HasVocabulary(const fs::path& folder) {
  return IsFile(folder / "tokenizer.json") || IsFile(folder / "vocab.txt") ||
         IsFile(folder / "tokenizer.model") ||
         (IsFile(folder / "vocab.json") && IsFile(folder / "merges.txt"));
}

}  // namespace

bool NamesCheckpoint(std::string_view ref) { return ref.starts_with("job:"); }

bool MayNameJob(std::string_view ref) {
  const std::string_view name = ref.substr(0, ref.find('@'));
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && alnum(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alnum(c) || c == '-'; });
}

std::string WithJobPrefix(const std::string& ref) {
  std::error_code ignored;
  if (NamesCheckpoint(ref) || !MayNameJob(ref) || fs::exists(ref, ignored)) return ref;
  return "job:" + ref;
}

bool LooksLikeHubName(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == name.size()) return false;
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
  };
  const std::string_view owner = name.substr(0, slash), repository = name.substr(slash + 1);
  if (owner.starts_with('.') || !std::all_of(owner.begin(), owner.end(), plain) ||
      !std::all_of(repository.begin(), repository.end(), plain))
    return false;
  constexpr std::array kEndings = {".gguf", ".json", ".jsonl", ".txt", ".gz", ".safetensors"};
  return std::none_of(kEndings.begin(), kEndings.end(),
                      [&](const char* ending) { return repository.ends_with(ending); });
}

bool IsTokenizerFile(std::string_view name) {
  if (name == "config.json") return true;  // it may tell the tokenizer's class
  if (name.starts_with(kTemplatesFolder)) return IsModelFileName(name);
  return std::find(kTokenizerFiles.begin(), kTokenizerFiles.end(), name) != kTokenizerFiles.end();
}

bool IsPlainFileName(std::string_view name) {
  return name.find('/') == std::string_view::npos && CheckBlobKey(name).ok();
}

std::string ModelFileName(const fs::path& path) {
  const std::string name = path.filename().string();
  return path.parent_path().filename() == kTemplatesFolder
             ? fmt::format("{}/{}", kTemplatesFolder, name)
             : name;
}

bool IsModelFileName(std::string_view name) {
  const std::string folder = std::string(kTemplatesFolder) + "/";
  if (name.starts_with(folder)) name.remove_prefix(folder.size());
  return IsPlainFileName(name);
}

StatusOr<std::vector<fs::path>> FindModelFiles(const fs::path& model) {
  if (IsFile(model)) {
    if (model.extension() == ".gguf") return std::vector{model};
    return InvalidArgument("{} is no .gguf file; of a Hugging Face model name the folder",
                           model.string());
  }
  std::error_code ignored;
  if (!fs::is_directory(model, ignored))
    return NotFound(
        "{} does not exist (looked from {}); name a Hugging Face folder, a .gguf file, or "
        "job:NAME@latest{}",
        model.string(), WorkingFolder(), HubHint(model.string()));
  std::vector<fs::path> files = {model / "config.json"};
  if (!IsFile(files[0]))
    return NotFound("{} holds no config.json: it is no Hugging Face model", model.string());
  if (const fs::path index = model / "model.safetensors.index.json"; IsFile(index)) {
    ASSIGN_OR_RETURN(const std::vector<fs::path> shards, ShardsOf(index));
    files.push_back(index);
    files.insert(files.end(), shards.begin(), shards.end());
  } else if (IsFile(model / "model.safetensors")) {
    files.push_back(model / "model.safetensors");
  } else {
    return NotFound(
        "{} holds no model.safetensors and no index of shards. Weights in pickles (.bin, .pt) are "
        "not read, for they can hold code: load them with transformers and save_pretrained them",
        model.string());
  }
  if (IsFile(model / "generation_config.json")) files.push_back(model / "generation_config.json");
  AddThoseThere(model, &files);
  return files;
}

StatusOr<std::vector<fs::path>> FindTokenizerFiles(const fs::path& tokenizer) {
  if (IsFile(tokenizer)) return std::vector{tokenizer};
  if (!HasVocabulary(tokenizer))
    return NotFound(
        "{} holds no tokenizer.json, and no vocab.json with merges.txt, vocab.txt or "
        "tokenizer.model (looked from {}){}",
        tokenizer.string(), WorkingFolder(), HubHint(tokenizer.string()));
  std::vector<fs::path> files;
  // It tells the tokenizer's class where no other file does.
  if (IsFile(tokenizer / "config.json")) files.push_back(tokenizer / "config.json");
  AddThoseThere(tokenizer, &files);
  return files;
}

}  // namespace trainyard

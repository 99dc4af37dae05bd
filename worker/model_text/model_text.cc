#include "worker/model_text/model_text.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "common/files.h"
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
                                  "chat_template.jinja",
                                  "generation_config.json",
                                  "README.md",
                                  "LICENSE"};
constexpr int64_t kFileBytesMax = int64_t{256} << 20;

// tokenizer.json of a folder that has only the files from before it; nothing when it has none.
Status AddFromLegacy(std::vector<SmallFile>* files) {
  if (FindFile(*files, "tokenizer.json") != nullptr) return OkStatus();
  const auto text = [&](std::string_view name) {
    const std::string* found = FindFile(*files, name);
    return found == nullptr ? std::nullopt : std::optional<std::string_view>(*found);
  };
  StatusOr<std::string> json =
      TokenizerJsonFromLegacy({.vocab_json = text("vocab.json"),
                               .merges_txt = text("merges.txt"),
                               .vocab_txt = text("vocab.txt"),
                               .tokenizer_config = text("tokenizer_config.json"),
                               .special_tokens_map = text("special_tokens_map.json")});
  if (absl::IsNotFound(json.status())) return OkStatus();
  RETURN_IF_ERROR(json.status());
  files->push_back({"tokenizer.json", *std::move(json)});
  return OkStatus();
}

StatusOr<std::vector<SmallFile>> ReadFolder(const std::filesystem::path& folder) {
  std::vector<SmallFile> files;
  for (const char* name : kFiles) {
    StatusOr<std::string> text = ReadFile(folder / name, kFileBytesMax);
    if (absl::IsNotFound(text.status())) continue;
    RETURN_IF_ERROR(text.status());
    files.push_back({name, *std::move(text)});
  }
  if (const Status added = AddFromLegacy(&files); !added.ok())
    return Annotate(added, folder.string());
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
  if (source.gguf() == nullptr) return ReadFolder(source.path());
  const nlohmann::ordered_json& config = source.config();
  const int64_t positions =
      config.value("max_position_embeddings", config.value("n_positions", int64_t{0}));
  auto files = TextFromGguf(source.gguf()->metadata(), positions);
  if (!files.ok()) return Annotate(files.status(), source.path().string());
  return files;
}

Status CheckVocabulary(const std::vector<SmallFile>& files, int64_t embedding_rows) {
  const std::string* json = FindFile(files, "tokenizer.json");
  if (json == nullptr) return OkStatus();
  const StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), "tokenizer.json");
  if (tokenizer->vocab_size() <= embedding_rows) return OkStatus();
  const std::set<int64_t> added = AddedIds(*json);
  bool all_added = true;
  for (int64_t id = embedding_rows; id < tokenizer->vocab_size(); ++id)
    all_added =
        all_added && (added.contains(id) || !tokenizer->IdToToken(static_cast<int32_t>(id)).ok());
  if (!all_added)
    return InvalidArgument(
        "the tokenizer has {} ids, but the embedding has {} rows: they are not of one model",
        tokenizer->vocab_size(), embedding_rows);
  std::fprintf(stderr, "note: %lld added tokens of the tokenizer have no row in the embedding\n",
               static_cast<long long>(tokenizer->vocab_size() - embedding_rows));
  return OkStatus();
}

}  // namespace trainyard::worker

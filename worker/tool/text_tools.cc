// tool tokenizer train|encode|decode, tool data check.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/job_spec/local_data.h"
#include "common/user_file.h"
#include "worker/data/pieces.h"
#include "worker/data/prepare.h"
#include "worker/model_text/model_text.h"
#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

StatusOr<PrepareSource> OpenSource(const std::vector<std::string>& patterns,
                                   const std::string& format, const std::string& text_field) {
  PrepareSource source{.files = {}, .format = format, .text_field = text_field};
  for (const std::string& pattern : patterns) {
    ASSIGN_OR_RETURN(const DataFiles files, ExpandDataPath(pattern));
    for (const std::string& note : files.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
    for (const auto& path : files.paths)
      source.files.push_back({.path = path, .name = path.string()});
  }
  return source;
}

// The text of a tokenizer.json: that file, or what a model or a tokenizer's folder has in its
// place.
StatusOr<std::string> TokenizerJson(const std::filesystem::path& path) {
  std::error_code ignored;
  std::vector<SmallFile> files;
  if (std::filesystem::is_directory(path, ignored)) {
    ASSIGN_OR_RETURN(files, ReadTokenizerFolder(path));
  } else if (path.extension() == ".gguf") {
    ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(path));
    ASSIGN_OR_RETURN(files, ReadModelText(source));
  } else if (path.extension() == ".model") {
    ASSIGN_OR_RETURN(const std::string model, ReadFile(path));
    ASSIGN_OR_RETURN(LegacyTokenizer made, TokenizerJsonFromLegacy({.tokenizer_model = model}));
    return std::move(made.tokenizer_json);
  } else {
    return ReadFile(path);
  }
  const std::string* json = FindFile(files, "tokenizer.json");
  if (json == nullptr)
    return NotFound(
        "{} has no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt, nor "
        "vocab.txt, nor tokenizer.model",
        path.string());
  return *json;
}

StatusOr<Tokenizer> OpenTokenizer(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string json, TokenizerJson(path));
  auto tokenizer = Tokenizer::Load(json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path.string());
  return tokenizer;
}

// Before hours of training, not after.
Status CheckPlaceFor(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    return InvalidArgument("--out {} is a folder; name the file to make in it", file.string());
  const std::filesystem::path parent = file.parent_path();
  if (parent.empty() || std::filesystem::is_directory(parent, ignored)) return OkStatus();
  return NotFound("--out {}: there is no folder {}", file.string(), parent.string());
}

}  // namespace

Status TrainTokenizerTool(const TokenizerTrainOptions& options) {
  RETURN_IF_ERROR(CheckPlaceFor(options.out));
  ASSIGN_OR_RETURN(const PrepareSource source,
                   OpenSource(options.files, options.format, options.text_field));
  ASSIGN_OR_RETURN(const TokenizerKind kind, TokenizerKindNamed(options.type));
  TokenizerTrainer trainer({.kind = kind});
  PieceCutter cutter([&](std::span<const TextPiece> pieces) {
    std::vector<std::string_view> texts;
    for (const TextPiece& piece : pieces) texts.push_back(piece.text);
    return trainer.Feed(texts);
  });
  for (const TextFile& file : source.files) {
    ASSIGN_OR_RETURN(const TextFormat format, FormatOf(source.format, file.name));
    RETURN_IF_ERROR(ReadDocuments(file, format, source.text_field,
                                  {.text = [&](std::string_view text) { return cutter.Text(text); },
                                   .end = [&] { return cutter.EndDocument(); }}));
  }
  RETURN_IF_ERROR(cutter.Finish());
  ASSIGN_OR_RETURN(const Tokenizer tokenizer,
                   trainer.Finish({.vocab_size = options.vocab_size,
                                   .special_tokens = SpecialTokensFor(kind, options.with_mask)}));
  RETURN_IF_ERROR(WriteUserFile(options.out, tokenizer.json()));
  std::printf("%s\n", options.out.c_str());
  if (tokenizer.vocab_size() < options.vocab_size)
    std::fprintf(stderr, "note: the text supports no more than %ld of the %ld entries asked for\n",
                 static_cast<long>(tokenizer.vocab_size()), static_cast<long>(options.vocab_size));
  std::fprintf(stderr, "%ld tokens; try: trainyard tokenizer encode --tokenizer %s 'some text'\n",
               static_cast<long>(tokenizer.vocab_size()), options.out.c_str());
  return OkStatus();
}

Status EncodeTool(const std::filesystem::path& path, const std::string& text, bool parse_special,
                  bool json) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, OpenTokenizer(path));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                   tokenizer.Encode(text, {.parse_special_tokens = parse_special}));
  const std::string listed = fmt::format("{}", fmt::join(ids, json ? ", " : " "));
  const std::string shown = json ? fmt::format("{{\"ids\": [{}]}}", listed) : listed;
  std::printf("%s\n", shown.c_str());
  return OkStatus();
}

Status DecodeTool(const std::filesystem::path& path, const std::vector<int32_t>& ids, bool json) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, OpenTokenizer(path));
  ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(ids));
  const std::string shown = json ? nlohmann::json{{"text", text}}.dump() : text;
  std::printf("%s\n", shown.c_str());
  return OkStatus();
}

Status CheckData(const DataCheckOptions& options) {
  ASSIGN_OR_RETURN(const TokenizerKind kind, TokenizerKindNamed(options.type));
  ASSIGN_OR_RETURN(const PrepareSource source,
                   OpenSource(options.files, options.format, options.text_field));
  ASSIGN_OR_RETURN(const SourceSummary summary, CheckSource(source, kind));
  nlohmann::ordered_json told = {{"files", summary.files},
                                 {"documents", summary.documents},
                                 {"bytes", summary.source_bytes},
                                 {"longest_document_bytes", summary.longest_document_bytes}};
  if (summary.largest_vocabulary > 0) told["largest_vocabulary"] = summary.largest_vocabulary;
  if (options.json) {
    std::printf("%s\n", told.dump(2).c_str());
    return OkStatus();
  }
  for (const auto& [name, value] : told.items())
    std::printf("%s %s\n", name.c_str(), value.dump().c_str());
  return OkStatus();
}

}  // namespace trainyard::worker

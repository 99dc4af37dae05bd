// tool model export: any model as a Hugging Face folder or a .gguf file.
#include <algorithm>
#include <cstdio>
#include <optional>

#include "common/files.h"
#include "common/user_file.h"
#include "worker/checkpoint/gguf_export.h"
#include "worker/checkpoint/new_folder.h"
#include "worker/model_text/gguf_text.h"
#include "worker/model_text/model_text.h"
#include "worker/tool/gguf_keys.h"
#include "worker/tool/stop_signals.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

// `file_type`: general.file_type, llama.cpp's number for what most tensors have.
struct ExportType {
  const char* name;
  GgmlType type;
  uint32_t file_type;
};
constexpr ExportType kTypes[] = {{"f32", GgmlType::kF32, 0},    {"f16", GgmlType::kF16, 1},
                                 {"bf16", GgmlType::kBF16, 32}, {"q8_0", GgmlType::kQ8_0, 7},
                                 {"q4_0", GgmlType::kQ4_0, 2},  {"q4_k_m", GgmlType::kQ4_K, 15}};

StatusOr<ExportType> FindType(const std::string& name) {
  std::string known;
  for (const ExportType& type : kTypes) {
    if (name == type.name) return type;
    known += (known.empty() ? "" : ", ") + std::string(type.name);
  }
  return InvalidArgument("--type is {:?}; {} are known", name, known);
}

// The model's name, for people: its folder's or file's.
std::string NameOf(const std::filesystem::path& source) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(source, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.stem().string();
}

// The tokenizer and chat template; of a GGUF file as they are.
StatusOr<GgufWriter::Keys> TextKeys(const ModelSource& source, const ModelConfig& config) {
  GgufWriter::Keys keys;
  if (const GgufFile* gguf = source.gguf()) {
    for (const auto& [key, value] : gguf->metadata().values)
      if (key.starts_with("tokenizer.") && key != kGgufTokenTypeCount) keys.push_back({key, value});
    return keys;
  }
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  RETURN_IF_ERROR(CheckVocabulary(files, config.vocab_size));
  return GgufTextKeys(files, source.config());
}

StatusOr<GgufWriter::Keys> AllKeys(const ModelSource& source, const ModelConfig& config,
                                   const ExportType& type) {
  ASSIGN_OR_RETURN(GgufWriter::Keys keys, GgufModelKeys(config));
  keys.push_back({"general.name", GgufString(NameOf(source.path()))});
  keys.push_back({"general.file_type", GgufUint32(type.file_type)});
  keys.push_back({"general.quantization_version", GgufUint32(2)});
  ASSIGN_OR_RETURN(const GgufWriter::Keys text, TextKeys(source, config));
  keys.insert(keys.end(), text.begin(), text.end());
  // Without the key llama.cpp does not load a file.
  constexpr char kTokenizer[] = "tokenizer.ggml.model";
  if (std::none_of(text.begin(), text.end(),
                   [&](const auto& entry) { return entry.first == kTokenizer; }))
    keys.push_back({kTokenizer, GgufString("no_vocab")});
  return keys;
}

Status ExportGguf(const ExportOptions& options) {
  const StopSignals signals;
  ASSIGN_OR_RETURN(const ExportType type, FindType(options.type.empty() ? "f16" : options.type));
  if (IsTaken(options.destination))
    return AlreadyExists("{} exists; choose another place, or remove it",
                         options.destination.string());
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(options.source));
  ASSIGN_OR_RETURN(const ModelConfig config, CheckModel(source));
  GgufExport parts{.type = type.type,
                   .blocks = config.layers,
                   .heads = config.heads,
                   .kv_heads = config.kv_heads,
                   .embedding_is_head = config.tie_embeddings};
  ASSIGN_OR_RETURN(parts.keys, AllKeys(source, config, type));
  parts.architecture = std::get<std::string>(parts.keys[0].second.value);
  parts.rope_factors = GgufRopeFactors(config);
  // The file is made in a folder that goes away with whatever is left in it.
  std::filesystem::path beside = options.destination;
  beside += ".making";
  ASSIGN_OR_RETURN(const NewFolder making, NewFolder::Create(beside));
  std::vector<std::string> left_out;
  ASSIGN_OR_RETURN(const FileDigest digest, WriteGguf(
                                                source, making.path() / "model.gguf", parts,
                                                [&] { return signals.Check(); }, &left_out));
  std::error_code error;
  std::filesystem::rename(making.path() / "model.gguf", options.destination, error);
  if (error)
    return Internal("cannot rename to {}: {}", options.destination.string(), error.message());
  const std::filesystem::path parent = options.destination.parent_path();
  RETURN_IF_ERROR(SyncPath(parent.empty() ? "." : parent));
  SayNotes(source);
  for (const std::string& name : left_out)
    std::fprintf(stderr, "note: %s has no place in a GGUF file and was left out\n", name.c_str());
  std::printf("%s\n", options.destination.c_str());
  std::fprintf(stderr, "%s: %lld bytes, sha256 %s\n", config.model_type.c_str(),
               static_cast<long long>(digest.size), digest.sha256.c_str());
  return OkStatus();
}

}  // namespace

Status ExportModel(const ExportOptions& options) {
  if (options.format == "hf")
    return ImportModel({options.source, options.destination, options.type});
  if (options.format == "gguf") return ExportGguf(options);
  return InvalidArgument("--format is {:?}; hf and gguf are known", options.format);
}

}  // namespace trainyard::worker

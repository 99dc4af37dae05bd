// tool model import: any model into a Hugging Face folder.
#include <cstdio>

#include "common/model/layout.h"
#include "worker/checkpoint/copy_weights.h"
#include "worker/checkpoint/new_folder.h"
#include "worker/model_text/model_text.h"
#include "worker/tool/stop_signals.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

StatusOr<std::optional<TensorType>> ParseType(const std::string& name) {
  if (name.empty()) return std::optional<TensorType>();
  if (name == "f32") return std::optional(TensorType::kF32);
  if (name == "bf16") return std::optional(TensorType::kBF16);
  if (name == "f16") return std::optional(TensorType::kF16);
  return InvalidArgument("--type is {:?}; f32, bf16 and f16 are known", name);
}

// Text of a folder is kept byte for byte; what must tell another type than it did is written anew.
Status WriteConfig(const ModelSource& source, TensorType type, bool changed,
                   const NewFolder& folder) {
  if (!changed) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(source.path() / "config.json"));
    return folder.Text("config.json", text);
  }
  nlohmann::ordered_json config = source.config();
  // transformers 4 reads the first, transformers 5 the second.
  for (const char* key : {"torch_dtype", "dtype"}) config[key] = DtypeOf(type);
  return folder.Json("config.json", config);
}

}  // namespace

void SayNotes(const ModelSource& source) {
  for (const std::string& note : source.Notes())
    std::fprintf(stderr, "note: %s: %s\n", source.path().c_str(), note.c_str());
}

StatusOr<ModelConfig> CheckModel(const ModelSource& source) {
  const auto config = ModelConfigFromJson(source.config());
  if (!config.ok()) return Annotate(config.status(), source.path().string());
  std::vector<NamedShape> wanted;
  for (const ParameterSpec& spec : ParameterLayout(*config))
    wanted.push_back({spec.name, spec.shape});
  RETURN_IF_ERROR(source.MatchTensors(wanted));
  return *config;
}

Status ImportModel(const ImportOptions& options) {
  const StopSignals signals;
  ASSIGN_OR_RETURN(const std::optional<TensorType> type, ParseType(options.type));
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(options.source));
  ASSIGN_OR_RETURN(const ModelConfig config, CheckModel(source));
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  RETURN_IF_ERROR(CheckVocabulary(files, config.vocab_size));
  ASSIGN_OR_RETURN(NewFolder folder, NewFolder::Create(options.destination));
  ASSIGN_OR_RETURN(const CopiedWeights weights,
                   CopyWeights(source, folder.path() / "model.safetensors", type,
                               [&] { return signals.Check(); }));
  const bool changed = source.gguf() != nullptr || type.has_value();
  RETURN_IF_ERROR(WriteConfig(source, weights.type, changed, folder));
  for (const SmallFile& file : files) RETURN_IF_ERROR(folder.Text(file.name, file.text));
  RETURN_IF_ERROR(folder.Commit());
  std::printf("%s\n", options.destination.c_str());
  std::fprintf(stderr, "%s: %s\n", config.model_type.c_str(),
               fmt::format("{} parameters, {} bytes of {}, sha256 {}", weights.parameters,
                           weights.digest.size, DtypeOf(weights.type), weights.digest.sha256)
                   .c_str());
  SayNotes(source);
  if (FindFile(files, "tokenizer.json") == nullptr)
    std::fprintf(stderr, "note: %s has no tokenizer.json\n", options.source.c_str());
  return OkStatus();
}

}  // namespace trainyard::worker

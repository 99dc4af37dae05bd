// tool model inspect.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "common/checkpoint_manifest.h"
#include "common/files.h"
#include "worker/checkpoint/model_source.h"
#include "worker/model_text/model_text.h"
#include "worker/text/tokenizer.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

void Say(const std::string& line) { std::printf("%s\n", line.c_str()); }

void SayConfig(const ModelConfig& config) {
  Say(fmt::format(
      "model_type {}\nparameters {}\nlayers {}\nhidden_size {}\nheads {}\n"
      "kv_heads {}\nvocab_size {}\nmax_positions {}\ntied_embeddings {}",
      config.model_type, config.parameter_count(), config.layers, config.hidden_size, config.heads,
      config.kv_heads, config.vocab_size, config.max_positions, config.tie_embeddings));
}

// "types BF16 270, F32 61": how many tensors are stored how.
void SayTypes(const ModelSource& source) {
  std::map<std::string_view, int64_t> counts;
  for (const SourceTensor& tensor : source.tensors()) ++counts[tensor.stored];
  std::string text;
  for (const auto& [type, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", type, count);
  Say("types " + text);
}

Status SayText(const ModelSource& source) {
  ASSIGN_OR_RETURN(const std::vector<SmallFile> files, ReadModelText(source));
  const std::string* json = FindFile(files, "tokenizer.json");
  if (json == nullptr) {
    Say("tokenizer none");
  } else {
    const StatusOr<Tokenizer> tokenizer = Tokenizer::Load(*json);
    if (!tokenizer.ok()) return Annotate(tokenizer.status(), "tokenizer.json");
    Say(fmt::format("tokenizer {} ids", tokenizer->vocab_size()));
  }
  ASSIGN_OR_RETURN(const std::vector<NamedTemplate> templates,
                   ChatTemplatesOf(TemplateFilesOf(files)));
  std::string names;
  for (const NamedTemplate& one : templates) names += (names.empty() ? "" : ", ") + one.name;
  Say(fmt::format("chat_template {}", names.empty() ? "none" : names));
  return OkStatus();
}

// A checkpoint of ours: what wrote it, and whether it is whole.
Status SayCheckpoint(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(folder / CheckpointManifest::kPath));
  ASSIGN_OR_RETURN(const CheckpointManifest manifest, VerifyCheckpoint(folder, digest));
  Say(fmt::format("job {}\nstep {}\nattempt {}\nfiles {}\nbytes {}\nmanifest_digest {}",
                  manifest.job, manifest.step, manifest.attempt, manifest.files.size(),
                  manifest.total_bytes(), digest));
  return OkStatus();
}

}  // namespace

Status InspectModel(const std::filesystem::path& model) {
  ASSIGN_OR_RETURN(const ModelSource source, ModelSource::Open(model));
  ASSIGN_OR_RETURN(const ModelConfig config, CheckModel(source));
  SayConfig(config);
  SayNotes(source);
  SayTypes(source);
  RETURN_IF_ERROR(SayText(source));
  if (source.gguf() == nullptr) {
    const Status checkpoint = SayCheckpoint(model);
    if (!checkpoint.ok() && !absl::IsNotFound(checkpoint)) return checkpoint;
  }
  for (const SourceTensor& tensor : source.tensors())
    Say(fmt::format("tensor {} {} [{}]", tensor.name, tensor.stored,
                    fmt::join(tensor.shape, ", ")));
  return OkStatus();
}

}  // namespace trainyard::worker

// tool model inspect.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/checkpoint_manifest.h"
#include "common/files.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/model/config.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

void Say(const std::string& line) { std::printf("%s\n", line.c_str()); }

Status InspectConfig(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / "config.json"));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return InvalidArgument("{}: not valid JSON", (folder / "config.json").string());
  }
  ASSIGN_OR_RETURN(const ModelConfig config, ModelConfigFromJson(json));
  Say(fmt::format(
      "model_type {}\nparameters {}\nlayers {}\nhidden_size {}\nheads {}\n"
      "kv_heads {}\nvocab_size {}\nmax_positions {}\ntied_embeddings {}",
      config.model_type, config.parameter_count(), config.layers, config.hidden_size, config.heads,
      config.kv_heads, config.vocab_size, config.max_positions, config.tie_embeddings));
  return OkStatus();
}

// A checkpoint of ours: what wrote it, and whether it is whole.
Status InspectCheckpoint(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(folder / CheckpointManifest::kPath));
  ASSIGN_OR_RETURN(const CheckpointManifest manifest, VerifyCheckpoint(folder, digest));
  Say(fmt::format("job {}\nstep {}\nattempt {}\nfiles {}\nbytes {}\nmanifest_digest {}",
                  manifest.job, manifest.step, manifest.attempt, manifest.files.size(),
                  manifest.total_bytes(), digest));
  return OkStatus();
}

}  // namespace

Status InspectModel(const std::filesystem::path& folder) {
  RETURN_IF_ERROR(InspectConfig(folder));
  const Status checkpoint = InspectCheckpoint(folder);
  if (!checkpoint.ok() && !absl::IsNotFound(checkpoint)) return checkpoint;
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(folder / "model.safetensors"));
  for (const TensorEntry& tensor : file.tensors()) {
    Say(fmt::format("tensor {} {} [{}]", tensor.name, NameOf(tensor.type),
                    fmt::join(tensor.shape, ", ")));
  }
  return OkStatus();
}

}  // namespace trainyard::worker

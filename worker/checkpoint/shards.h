// The safetensors files of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json names. The index is not trusted:
//   * it is strict JSON with a weight_map of texts, at most 1,024 shards;
//   * a shard's name is a plain file name that ends in .safetensors: no folder, no "..";
//   * every tensor of the map lies in the shard that it names, and no shard holds another one.
// metadata.total_size is nobody's to trust: some writers count the files' headers in it. One that
// is not the sum of the tensors' bytes is worth a note.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/safetensors.h"

namespace trainyard::worker {

struct Shards {
  std::vector<SafetensorsFile> files;
  std::vector<std::string> notes;  // sentences
};

// NotFound when the folder holds no safetensors, saying so when it holds pickled weights instead;
// DataLoss naming file and rule.
StatusOr<Shards> OpenShards(const std::filesystem::path& folder);

}  // namespace trainyard::worker

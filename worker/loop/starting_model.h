// What a job brings beside its data: the model it goes on from and the tokenizer it names.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "common/status.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

struct StartingModel {
  std::filesystem::path path;  // a Hugging Face folder or a .gguf file; empty: fresh weights
  nlohmann::json config;       // its config.json; null for fresh weights
  std::string tokenizer_json;  // the model's or the one that is named; empty: one is trained
  // Files of that tokenizer, of its chat template and the model's generation settings, by name:
  // checkpoints keep them as they are.
  std::map<std::string, std::string> tokenizer_files;

  bool has_weights() const { return !path.empty(); }
  // A token of the model's config.json by its key there ("eos_token_id"; of a list the first); -1
  // when it names none, or when the tokenizer is not the model's own.
  int32_t token(const char* key) const;

  bool own_tokenizer = false;  // tokenizer_json came with the weights
};

// The files of spec.model.from and spec.tokenizer.from, out of the BlobStore and with their digests
// checked, linked into folders of the rank's work_dir. Nothing of a job that names neither. Errors
// carry the field at fault.
StatusOr<StartingModel> OpenStartingModel(const RankContext& context);

}  // namespace trainyard::worker

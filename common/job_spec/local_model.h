// Models and tokenizers on the machine of the one who submits: which files they are made of.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard {

// "job:NAME@latest" or "job:NAME@400": a checkpoint that a coordinator has recorded.
bool NamesCheckpoint(std::string_view ref);

// The file itself for a .gguf; of a Hugging Face folder config.json, model.safetensors or the
// shards that its index names, and what is there of tokenizer, chat template and generation
// settings. NotFound or InvalidArgument says what is missing and what to do.
StatusOr<std::vector<std::filesystem::path>> FindModelFiles(const std::filesystem::path& model);

// tokenizer.json and what is there beside it; `tokenizer` is its folder or the file itself.
StatusOr<std::vector<std::filesystem::path>> FindTokenizerFiles(
    const std::filesystem::path& tokenizer);

// Whether `name` names a file and no folder: no slash, not "." or "..", at most 200 characters of
// those that a blob's key may have.
bool IsPlainFileName(std::string_view name);

}  // namespace trainyard

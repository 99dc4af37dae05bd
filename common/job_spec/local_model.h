// Models and tokenizers on the machine of the one who submits: which files they are made of.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace trainyard {

// "job:NAME@latest" or "job:NAME@400": a checkpoint that a coordinator has recorded.
bool NamesCheckpoint(std::string_view ref);

// A model as people name it, a folder or file that is there first: else "mine", "mine@latest" and
// "mine@400" are what "job:mine", ... are. Texts that cannot be a job's name come back as they are.
std::string WithJobPrefix(const std::string& ref);

// Whether `ref` could name a job, without "job:" and what follows "@".
bool MayNameJob(std::string_view ref);

// "org/model": two parts of letters, digits, ".", "-" and "_", the second without a file's ending.
bool LooksLikeHubName(std::string_view name);

// The file itself for a .gguf; of a Hugging Face folder config.json, model.safetensors or the
// shards that its index names, and what is there of tokenizer, chat template and generation
// settings. NotFound or InvalidArgument says what is missing and what to do.
StatusOr<std::vector<std::filesystem::path>> FindModelFiles(const std::filesystem::path& model);

// tokenizer.json, or a vocabulary from before it, and what is there beside it; `tokenizer` is its
// folder or the file itself.
StatusOr<std::vector<std::filesystem::path>> FindTokenizerFiles(
    const std::filesystem::path& tokenizer);

// Whether a file of this name belongs to a tokenizer, in a model's folder.
bool IsTokenizerFile(std::string_view name);

// Whether `name` names a file and no folder: no slash, not "." or "..", at most 200 characters of
// those that a blob's key may have.
bool IsPlainFileName(std::string_view name);

// The folder of a model's named chat templates, the only one in a model's folder.
constexpr std::string_view kTemplatesFolder = "additional_chat_templates";

// The name under which a model's file goes: its own, that of a named chat template with the folder.
std::string ModelFileName(const std::filesystem::path& path);
// Whether `name` is one: a plain one, or one in kTemplatesFolder.
bool IsModelFileName(std::string_view name);

}  // namespace trainyard

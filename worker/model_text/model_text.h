// What a model says about text: its tokenizer, chat template and small files, wherever they lie.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/model_source.h"
#include "worker/text/chat_template.h"
#include "worker/text/special_tokens.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

struct SmallFile {
  std::string name;  // as in a Hugging Face folder; of additional_chat_templates with that folder
  std::string text;
};

// The files of a Hugging Face folder beside config.json and the weights that a user takes along:
// tokenizer, chat templates, generation defaults, model card, licence. Those of a folder are its
// own, byte for byte; but a tokenizer.json is made of a vocabulary from before it, with a
// tokenizer_config.json where there is none, and one that lacks tokens which the files beside it
// name gets them. What is read and not used is said on stderr.
StatusOr<std::vector<SmallFile>> ReadModelText(const ModelSource& source);

// The same of a folder that need not have weights; its config.json, if there, tells the tokenizer's
// class where no other file does.
StatusOr<std::vector<SmallFile>> ReadTokenizerFolder(const std::filesystem::path& folder);

// The text of that file, or null.
const std::string* FindFile(const std::vector<SmallFile>& files, std::string_view name);

// What `files` say about special tokens, and about chat templates.
TokenFiles TokenFilesOf(const std::vector<SmallFile>& files);
TemplateFiles TemplateFilesOf(const std::vector<SmallFile>& files);

// The template called `name`, "" for the one that a conversation takes (ChooseChatTemplate).
StatusOr<std::string> ChatTemplateOf(const std::vector<SmallFile>& files, bool with_tools = false,
                                     std::string_view name = {});

// Whether the tokenizer in `files`, if there is one, has no more ids than the embedding has rows.
// InvalidArgument naming both numbers; ids past the rows that are all added tokens (Gemma 3 has one
// for images) are only told on stderr.
Status CheckVocabulary(const std::vector<SmallFile>& files, int64_t embedding_rows);
// The same of a tokenizer that is loaded already.
Status CheckVocabulary(const Tokenizer& tokenizer, int64_t embedding_rows);

}  // namespace trainyard::worker

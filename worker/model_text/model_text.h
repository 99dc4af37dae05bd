// What a model says about text: its tokenizer, chat template and small files, wherever they lie.
#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/model_source.h"

namespace trainyard::worker {

struct SmallFile {
  std::string name;  // as in a Hugging Face folder
  std::string text;
};

// The files of a Hugging Face folder beside config.json and the weights that a user takes along:
// tokenizer, chat template, generation defaults, model card, licence. Those of a folder are its
// own, byte for byte.
StatusOr<std::vector<SmallFile>> ReadModelText(const ModelSource& source);

// The text of that file, or null.
const std::string* FindFile(const std::vector<SmallFile>& files, std::string_view name);

// Whether the tokenizer in `files`, if there is one, has no more ids than the embedding has rows.
// InvalidArgument naming both numbers; ids past the rows that are all added tokens (Gemma 3 has one
// for images) are only told on stderr.
Status CheckVocabulary(const std::vector<SmallFile>& files, int64_t embedding_rows);

}  // namespace trainyard::worker

// A model with its tokenizer and its chat template, ready to write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/engine/engine.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {

struct OpenedModel {
  std::unique_ptr<Engine> engine;
  Tokenizer tokenizer;
  std::optional<ChatTemplate> chat_template;
  std::optional<ChatTemplate> tool_template;  // for conversations with tools, where it is another
  std::string template_variables;             // ChatInput::variables: bos_token and the like
  std::vector<int32_t> end_ids;               // any of them ends an answer
};

// `ref`: a Hugging Face folder or a .gguf file. Errors of ModelSource, of the
// tokenizer and of the template, naming the file; InvalidArgument when the tokenizer has ids beyond
// the embedding's rows.
StatusOr<OpenedModel> OpenModel(const std::filesystem::path& ref, const OpenOptions& options);

}  // namespace trainyard::worker

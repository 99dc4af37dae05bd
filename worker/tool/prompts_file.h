// The file of `generate --prompts`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/tool/prompt.h"

namespace trainyard::worker {

struct PromptLine {
  std::string place;           // FILE:LINE
  std::string key = "prompt";  // that it came under
  std::string text;
  ChatPrompt chat;  // without messages: it is a text

  bool is_text() const { return chat.messages.is_null(); }
};

struct PromptsFile {
  std::vector<PromptLine> lines;
  std::vector<std::string> notes;  // what was read and is not used, each kind once
};

// A text a line; of a .jsonl file (or .json or .ndjson) an object a line: the text "prompt", or the
// list of messages "messages" (or "prompt") with "tools" (a list, or its JSON text), "documents" (a
// list) and "chat_template_kwargs" (an object) for the template, as transformers'
// apply_chat_template has them. InvalidArgument naming line and key.
StatusOr<PromptsFile> ReadPrompts(const std::filesystem::path& path);

}  // namespace trainyard::worker

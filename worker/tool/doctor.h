// Looks for what commonly goes wrong with a model's folder: parts that are missing, or that do not
// fit together, so that a model trains on the wrong tokens or never stops.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/model/config.h"
#include "common/status.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

struct Finding {
  enum class Severity { kNote, kProblem } severity = Severity::kNote;
  std::string what;    // one sentence
  std::string remedy;  // what to do about it
};

// What the parts of a model say, already read.
struct ModelParts {
  const ModelConfig* config = nullptr;
  nlohmann::json tokenizer_config;   // null: there is none
  nlohmann::json generation_config;  // null: there is none
  std::vector<int32_t> end_ids;      // EndTokens of the files, without the template's
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;  // null: there is none
  std::string template_variables = "{}";
};

// Special tokens: there, inside the vocabulary, the same in every file.
std::vector<Finding> CheckSpecialTokens(const ModelParts& parts);
// The template against the tokenizer: the tokens that it writes are single ones, no second BOS is
// added, and what ends a turn ends an answer.
std::vector<Finding> CheckTemplate(const ModelParts& parts);

}  // namespace trainyard::worker

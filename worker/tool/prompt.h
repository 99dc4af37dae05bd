// What a model is given to go on from: a text, or a conversation in the model's own template.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/tool/open_model.h"

namespace trainyard::worker {

// With what the tokenizer adds by itself, as transformers has it; the model's BOS when that is
// nothing at all. `parse_special`: a special token spelled out in the text becomes its id,
// likewise.
StatusOr<std::vector<int32_t>> TokensOfText(const OpenedModel& model, const std::string& text,
                                            bool parse_special);

// {"role", "content"}; InvalidArgument where the content is not UTF-8.
StatusOr<nlohmann::ordered_json> Message(const char* role, const std::string& content);
// A list of messages: none, or the system's.
StatusOr<nlohmann::ordered_json> Conversation(const std::string& system);
// What a chat template is given, as transformers' apply_chat_template.
struct ChatPrompt {
  nlohmann::ordered_json messages = {};  // a list of them
  nlohmann::ordered_json tools = {};     // a list of JSON schemas; null: none
  nlohmann::ordered_json variables =
      {};  // an object: further variables of the template; null: none
};
// The conversation rendered up to where the assistant's answer begins; special tokens in it,
// whoever wrote them, become their ids. `now` is what a template that asks for the date is told.
// FailedPrecondition: the model has no template.
StatusOr<std::vector<int32_t>> TokensOfChat(const OpenedModel& model, const ChatPrompt& chat,
                                            absl::Time now);

// To stdout, at once.
void Print(std::string_view text);

}  // namespace trainyard::worker

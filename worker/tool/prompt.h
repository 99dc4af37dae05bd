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
// nothing at all.
StatusOr<std::vector<int32_t>> TokensOfText(const OpenedModel& model, const std::string& text);

// {"role", "content"}; InvalidArgument where the content is not UTF-8.
StatusOr<nlohmann::ordered_json> Message(const char* role, const std::string& content);
// A list of messages: none, or the system's.
StatusOr<nlohmann::ordered_json> Conversation(const std::string& system);
// `messages`, a list of messages, rendered up to where the assistant's answer begins. `now` is what
// a template that asks for the date is told. FailedPrecondition: the model has no template.
StatusOr<std::vector<int32_t>> TokensOfChat(const OpenedModel& model,
                                            const nlohmann::ordered_json& messages, absl::Time now);

// To stdout, at once.
void Print(std::string_view text);

}  // namespace trainyard::worker

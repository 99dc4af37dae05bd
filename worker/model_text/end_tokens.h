// The tokens at which a model's answer ends, from everything that names one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/model_text/model_text.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// Ids of a vocabulary whose spelling alone says that a turn or a text ends there, in the order of
// the ids: llama.cpp's list (src/llama-vocab.cpp, special_eog_ids), by which it ends answers of any
// GGUF file.
std::vector<int32_t> EndTokensByName(const std::vector<std::string>& tokens);

// The special token that the template writes behind an assistant's message. Nothing where it writes
// none, or refuses a plain conversation.
std::optional<int32_t> TurnEndOf(const ChatTemplate& chat_template, std::string_view variables,
                                 const Tokenizer& tokenizer);

// eos_token_id of config.json and of generation_config.json, one or a list, and the template's turn
// end; of a GGUF file `files` has what its metadata and vocabulary say. Each once, below
// `vocab_size`. `chat_template` may be null.
std::vector<int32_t> EndTokens(const nlohmann::ordered_json& config,
                               const std::vector<SmallFile>& files, const Tokenizer& tokenizer,
                               int64_t vocab_size, const ChatTemplate* chat_template,
                               std::string_view variables);

}  // namespace trainyard::worker

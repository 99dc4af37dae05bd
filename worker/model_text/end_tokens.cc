#include "worker/model_text/end_tokens.h"

#include <absl/time/time.h>

#include <algorithm>
#include <array>

namespace trainyard::worker {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 19> kEndNames = {"<|eot_id|>",
                                                        "<|im_end|>",
                                                        "<|end|>",
                                                        "<|return|>",
                                                        "<|call|>",
                                                        "<|flush|>",
                                                        "<|calls|>",
                                                        "<end_of_turn>",
                                                        "<|endoftext|>",
                                                        "</s>",
                                                        "<|eom_id|>",
                                                        "<EOT>",
                                                        "_<EOT>",
                                                        "[EOT]",
                                                        "<|end_of_text|>",
                                                        "<end_of_utterance>",
                                                        "<eos>",
                                                        "<turn|>",
                                                        "<｜end▁of▁sentence｜>"};

constexpr std::string_view kAnswer = "Hello";
constexpr char kConversation[] =
    R"([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])";

// The ids of `value`, a number or a list of them.
std::vector<int64_t> IdsIn(const json& value) {
  std::vector<int64_t> ids;
  if (value.is_number_integer()) ids.push_back(value.get<int64_t>());
  if (!value.is_array()) return ids;
  for (const json& id : value)
    if (id.is_number_integer()) ids.push_back(id.get<int64_t>());
  return ids;
}

std::vector<int64_t> EosOf(const json& config) {
  const bool named = config.is_object() && config.contains("eos_token_id");
  return named ? IdsIn(config["eos_token_id"]) : std::vector<int64_t>();
}

}  // namespace

std::vector<int32_t> EndTokensByName(const std::vector<std::string>& tokens) {
  std::vector<int32_t> ids;
  const auto has = [&](std::string_view name) {
    return std::find(tokens.begin(), tokens.end(), name) != tokens.end();
  };
  // gpt-oss ends a message with <|end|> and goes on with the next.
  const bool messages_go_on = has("<|return|>") && has("<|call|>");
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (std::find(kEndNames.begin(), kEndNames.end(), tokens[id]) == kEndNames.end()) continue;
    if (messages_go_on && tokens[id] == "<|end|>") continue;
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::optional<int32_t> TurnEndOf(const ChatTemplate& chat_template, std::string_view variables,
                                 const Tokenizer& tokenizer) {
  const StatusOr<std::string> rendered = chat_template.Render(
      {.messages = kConversation, .variables = variables, .now = absl::UnixEpoch()});
  if (!rendered.ok()) return std::nullopt;
  const size_t answer = rendered->rfind(kAnswer);
  if (answer == std::string::npos) return std::nullopt;
  const size_t begin = rendered->find_first_not_of(" \n\r\t", answer + kAnswer.size());
  if (begin == std::string::npos) return std::nullopt;
  const auto ids = tokenizer.Encode(rendered->substr(begin), {.parse_special_tokens = true});
  if (!ids.ok() || ids->empty() || tokenizer.SpecialText(ids->front()).empty()) return std::nullopt;
  return ids->front();
}

std::vector<int32_t> EndTokens(const nlohmann::ordered_json& config,
                               const std::vector<SmallFile>& files, const Tokenizer& tokenizer,
                               int64_t vocab_size, const ChatTemplate* chat_template,
                               std::string_view variables) {
  std::vector<int64_t> named = EosOf(json(config));
  if (const std::string* text = FindFile(files, "generation_config.json")) {
    const std::vector<int64_t> more =
        EosOf(json::parse(*text, nullptr, /*allow_exceptions=*/false));
    named.insert(named.end(), more.begin(), more.end());
  }
  if (chat_template != nullptr) {
    if (const auto id = TurnEndOf(*chat_template, variables, tokenizer)) named.push_back(*id);
  }
  std::vector<int32_t> ids;
  for (const int64_t id : named) {
    if (id < 0 || id >= vocab_size) continue;
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

}  // namespace trainyard::worker

#include "worker/tool/prompt.h"

#include <cstdio>
#include <utility>

#include "common/files.h"

namespace trainyard::worker {

using nlohmann::ordered_json;

StatusOr<std::vector<int32_t>> TokensOfText(const OpenedModel& model, const std::string& text,
                                            bool parse_special) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                   model.tokenizer.Encode(
                       text, {.add_special_tokens = true, .parse_special_tokens = parse_special}));
  const int32_t bos = model.engine->config().bos_id;
  if (ids.empty() && bos >= 0) ids.push_back(bos);
  return ids;
}

StatusOr<ordered_json> Message(const char* role, const std::string& content) {
  if (const size_t bad = FindInvalidUtf8(content); bad != std::string::npos) {
    return InvalidArgument("the {} message is not UTF-8 at its byte {}", role, bad);
  }
  return ordered_json{{"role", role}, {"content", content}};
}

StatusOr<ordered_json> Conversation(const std::string& system) {
  ordered_json messages = ordered_json::array();
  if (system.empty()) return messages;
  ASSIGN_OR_RETURN(ordered_json message, Message("system", system));
  messages.push_back(std::move(message));
  return messages;
}

StatusOr<std::vector<int32_t>> TokensOfChat(const OpenedModel& model, const ChatPrompt& chat,
                                            absl::Time now) {
  if (!model.chat_template.has_value()) {
    return FailedPrecondition(
        "this model has no chat template; give --prompt instead of --chat, or a model that was "
        "trained on conversations");
  }
  const std::string messages = chat.messages.dump();
  const std::string tools = chat.tools.is_null() ? "" : chat.tools.dump();
  std::string variables = model.template_variables;
  if (!chat.variables.is_null()) {
    auto all = ordered_json::parse(variables, nullptr, /*allow_exceptions=*/false);
    all.update(chat.variables);
    variables = all.dump();
  }
  const ChatTemplate& written = !tools.empty() && model.tool_template.has_value()
                                    ? *model.tool_template
                                    : *model.chat_template;
  ASSIGN_OR_RETURN(const std::string rendered, written.Render({.messages = messages,
                                                               .tools = tools,
                                                               .variables = variables,
                                                               .add_generation_prompt = true,
                                                               .now = now}));
  return model.tokenizer.Encode(rendered, {.parse_special_tokens = true});
}

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace trainyard::worker

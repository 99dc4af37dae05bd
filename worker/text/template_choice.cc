// ChooseChatTemplate and TemplateVariables: what tokenizer_config.json says about templates.
#include <nlohmann/json.hpp>

#include "worker/text/chat_template.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

StatusOr<Json> ParseConfig(std::string_view tokenizer_config) {
  Json config = Json::parse(tokenizer_config, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    return InvalidArgument("tokenizer_config.json: not a JSON object; take the model's own file");
  return config;
}

// The template called `name` of a list of {"name", "template"}, if it is there.
StatusOr<std::optional<std::string>> FindNamed(const Json& list, std::string_view name) {
  for (const Json& entry : list) {
    const auto text = [&](const char* key) {
      return entry.is_object() ? entry.value(key, Json()) : Json();
    };
    if (!text("name").is_string() || !text("template").is_string())
      return InvalidArgument(
          "tokenizer_config.json: an entry of chat_template is not {{\"name\": ..., \"template\": "
          "...}} with two texts");
    if (text("name") == name) return text("template").get<std::string>();
  }
  return std::nullopt;
}

std::string NamesOf(const Json& list) {
  std::string names;
  for (const Json& entry : list)
    names += (names.empty() ? "" : ", ") + entry["name"].get<std::string>();
  return names;
}

StatusOr<std::string> ChooseFromList(const Json& list, const TemplateChoice& choice) {
  std::vector<std::string_view> wanted = {choice.name};
  if (choice.name.empty() && choice.with_tools) wanted = {"tool_use", "default"};
  if (choice.name.empty() && !choice.with_tools) wanted = {"default"};
  for (const std::string_view name : wanted) {
    ASSIGN_OR_RETURN(std::optional<std::string> found, FindNamed(list, name));
    if (found.has_value()) return *std::move(found);
  }
  return NotFound("tokenizer_config.json: no chat template is called {}; there are: {}",
                  wanted.back(), NamesOf(list));
}

}  // namespace

StatusOr<std::string> ChooseChatTemplate(const TemplateChoice& choice) {
  if (choice.jinja_file.has_value() && choice.name.empty()) return std::string(*choice.jinja_file);
  if (choice.tokenizer_config.has_value()) {
    ASSIGN_OR_RETURN(const Json config, ParseConfig(*choice.tokenizer_config));
    const Json found = config.value("chat_template", Json());
    if (found.is_string() && choice.name.empty()) return found.get<std::string>();
    if (found.is_array()) return ChooseFromList(found, choice);
    if (!found.is_null() && !found.is_string())
      return InvalidArgument(
          "tokenizer_config.json: chat_template is neither a text nor a list of templates");
  }
  if (!choice.name.empty())
    return NotFound("the model has no chat template called {}: it has no list of them",
                    choice.name);
  return NotFound(
      "the model has no chat template: neither chat_template.jinja nor \"chat_template\" in "
      "tokenizer_config.json; a base model has none, an instruct model's folder has");
}

StatusOr<std::string> TemplateVariables(std::string_view tokenizer_config) {
  ASSIGN_OR_RETURN(const Json config, ParseConfig(tokenizer_config));
  Json variables = Json::object();
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const Json token = config.value(name, Json());
    const Json content = token.is_object() ? token.value("content", Json()) : token;
    if (content.is_string()) variables[name] = content;
  }
  return variables.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace trainyard::worker

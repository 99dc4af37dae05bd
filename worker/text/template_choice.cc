// ChooseChatTemplate and TemplateVariables: what a model's small files say about templates.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "worker/text/chat_template.h"
#include "worker/text/tokenizer_class.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kDefault[] = "default";

StatusOr<Json> ParseConfig(std::string_view tokenizer_config) {
  Json config = Json::parse(tokenizer_config, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    return InvalidArgument("tokenizer_config.json: not a JSON object; take the model's own file");
  return config;
}

StatusOr<NamedTemplate> EntryOf(const Json& entry) {
  const auto text = [&](const char* key) {
    return entry.is_object() ? entry.value(key, Json()) : Json();
  };
  if (!text("name").is_string() || !text("template").is_string())
    return InvalidArgument(
        "tokenizer_config.json: an entry of chat_template is not {{\"name\": ..., \"template\": "
        "...}} with two texts");
  return NamedTemplate{text("name").get<std::string>(), text("template").get<std::string>()};
}

std::string NamesOf(const std::vector<NamedTemplate>& templates) {
  std::string names;
  for (const NamedTemplate& one : templates) names += (names.empty() ? "" : ", ") + one.name;
  return names;
}

// In the order in which transformers goes through them.
std::vector<std::string_view> WantedNames(const TemplateChoice& choice) {
  if (!choice.name.empty()) return {choice.name};
  if (choice.with_tools) return {"tool_use", kDefault};
  return {kDefault};
}

}  // namespace

StatusOr<std::vector<NamedTemplate>> ChatTemplatesOf(const TemplateFiles& files) {
  std::vector<NamedTemplate> templates;
  if (files.jinja_file.has_value()) templates.push_back({kDefault, std::string(*files.jinja_file)});
  templates.insert(templates.end(), files.additional.begin(), files.additional.end());
  if (!templates.empty() || !files.tokenizer_config.has_value()) return templates;
  ASSIGN_OR_RETURN(const Json config, ParseConfig(*files.tokenizer_config));
  const Json found = config.value("chat_template", Json());
  if (found.is_null()) return templates;
  if (found.is_string()) return std::vector{NamedTemplate{kDefault, found.get<std::string>()}};
  if (!found.is_array())
    return InvalidArgument(
        "tokenizer_config.json: chat_template is neither a text nor a list of templates");
  for (const Json& entry : found) {
    ASSIGN_OR_RETURN(NamedTemplate one, EntryOf(entry));
    templates.push_back(std::move(one));
  }
  return templates;
}

StatusOr<std::string> ChooseChatTemplate(const TemplateChoice& choice) {
  ASSIGN_OR_RETURN(const std::vector<NamedTemplate> templates,
                   ChatTemplatesOf({.jinja_file = choice.jinja_file,
                                    .additional = choice.additional,
                                    .tokenizer_config = choice.tokenizer_config}));
  if (templates.empty())
    return NotFound(
        "the model has no chat template: neither chat_template.jinja nor \"chat_template\" in "
        "tokenizer_config.json; a base model has none, an instruct model's folder has");
  const std::vector<std::string_view> wanted = WantedNames(choice);
  for (const std::string_view name : wanted)
    for (const NamedTemplate& one : templates)
      if (one.name == name) return one.source;
  return NotFound("the model has no chat template called {}; there are: {}", wanted.back(),
                  NamesOf(templates));
}

StatusOr<std::string> TemplateVariables(const TokenFiles& files) {
  ASSIGN_OR_RETURN(const TokenNames names, ReadTokenNames(files));
  Json variables = Json::object();
  for (const auto& [name, token] : names.named) variables[name] = token.content;
  const auto named = names.config.find("tokenizer_class");
  const TokenizerClass* of = named != names.config.end() && named->is_string()
                                 ? FindTokenizerClass(named->get<std::string>())
                                 : nullptr;
  if (of != nullptr)
    for (const auto& [name, usual] : of->default_tokens())
      if (!variables.contains(name)) variables[std::string(name)] = usual;
  return variables.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace trainyard::worker

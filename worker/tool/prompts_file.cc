#include "worker/tool/prompts_file.h"

#include <absl/strings/ascii.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "common/files.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kPromptFileMax = int64_t{64} << 20;
constexpr size_t kPromptsMax = 100'000;

bool HasObjects(const std::filesystem::path& path) {
  const std::string ending = absl::AsciiStrToLower(path.extension().string());
  return ending == ".jsonl" || ending == ".json" || ending == ".ndjson";
}

// What the template is given by itself; a variable of that name would be another.
constexpr std::array kOwnKeys = {"messages", "tools", "documents", "add_generation_prompt"};

const ordered_json& At(const ordered_json& object, const char* key) {
  static const ordered_json none;
  return object.contains(key) ? object[key] : none;
}

// A list, or null where there is none. Data sets store such lists as JSON texts, too.
StatusOr<ordered_json> ListAt(const ordered_json& object, const char* key) {
  ordered_json value = At(object, key);
  if (value.is_string())
    value = ordered_json::parse(value.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  if (value.is_null() || value.is_array()) return value;
  return InvalidArgument("\"{}\" must be a list", key);
}

StatusOr<ordered_json> VariablesOf(const ordered_json& object) {
  ordered_json variables = At(object, "chat_template_kwargs");
  if (!variables.is_null() && !variables.is_object())
    return InvalidArgument("\"chat_template_kwargs\" must be an object");
  for (const char* key : kOwnKeys)
    if (variables.contains(key))
      return InvalidArgument("\"chat_template_kwargs\" cannot have {:?}{}", key,
                             key == std::string_view("add_generation_prompt")
                                 ? ": an answer is what is asked for"
                                 : ": give it beside them");
  ASSIGN_OR_RETURN(const ordered_json documents, ListAt(object, "documents"));
  if (!documents.is_null()) variables["documents"] = documents;
  return variables;
}

// Which keys of a line are used; the others are noted, each the first time it is seen.
class Unused {
 public:
  void Look(const ordered_json& object, const PromptLine& line) {
    for (const auto& [key, value] : object.items()) {
      const bool of_chat = key == "tools" || key == "documents" || key == "chat_template_kwargs";
      if (key == line.key || (of_chat && !line.is_text()) || value.is_null()) continue;
      if (!seen_.emplace(key, line.is_text()).second) continue;
      notes_.push_back(line.is_text() && (of_chat || key == "messages")
                           ? fmt::format("{}: {:?} is not used: the line has a text, \"prompt\"",
                                         line.place, key)
                           : fmt::format("{}: {:?} is not used", line.place, key));
    }
  }
  std::vector<std::string> Take() { return std::move(notes_); }

 private:
  std::set<std::pair<std::string, bool>> seen_;
  std::vector<std::string> notes_;
};

Status ReadObject(const ordered_json& object, PromptLine& line) {
  if (!object.is_object())
    return InvalidArgument("each line must be a JSON object with \"prompt\" or \"messages\"");
  const ordered_json& prompt = At(object, "prompt");
  if (prompt.is_string()) {
    line.text = prompt.get<std::string>();
    return OkStatus();
  }
  if (!prompt.is_array()) line.key = "messages";
  const ordered_json& messages = At(object, line.key.c_str());
  if (!messages.is_array())
    return InvalidArgument(
        "each line must be an object with the text \"prompt\" or the list \"messages\"");
  line.chat.messages = messages;
  ASSIGN_OR_RETURN(line.chat.tools, ListAt(object, "tools"));
  ASSIGN_OR_RETURN(line.chat.variables, VariablesOf(object));
  return OkStatus();
}

}  // namespace

StatusOr<PromptsFile> ReadPrompts(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string all, ReadFile(path, kPromptFileMax));
  PromptsFile file;
  Unused unused;
  const bool has_objects = HasObjects(path);
  int64_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    std::string text = all.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (text.ends_with('\r')) text.pop_back();
    if (text.empty()) continue;
    if (file.lines.size() == kPromptsMax)
      return InvalidArgument("{} has more than {} prompts", path.string(), kPromptsMax);
    PromptLine& line = file.lines.emplace_back();
    line.place = fmt::format("{}:{}", path.string(), number);
    if (!has_objects) {
      line.text = std::move(text);
      continue;
    }
    const auto object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (const Status read = ReadObject(object, line); !read.ok()) return Annotate(read, line.place);
    unused.Look(object, line);
  }
  if (file.lines.empty()) return InvalidArgument("{} has no prompts", path.string());
  file.notes = unused.Take();
  return file;
}

}  // namespace trainyard::worker

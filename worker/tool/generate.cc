#include <absl/cleanup/cleanup.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "common/files.h"
#include "worker/tool/open_model.h"
#include "worker/tool/stop_strings.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kPromptFileMax = int64_t{64} << 20;
constexpr size_t kPromptsMax = 100'000;

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

SampleOptions SampleOptionsOf(const SamplingWords& words, const OpenedModel& model) {
  return {.max_new_tokens = words.max_new_tokens,
          .temperature = words.temperature,
          .top_k = words.top_k,
          .top_p = words.top_p,
          .min_p = words.min_p,
          .repetition_penalty = words.repetition_penalty,
          .seed = static_cast<uint64_t>(words.seed),
          .stop_ids = model.end_ids};
}

bool Ends(const OpenedModel& model, int32_t id) {
  return std::find(model.end_ids.begin(), model.end_ids.end(), id) != model.end_ids.end();
}

// What the model writes after the tokens of one prompt; `show` sees it piece by piece.
StatusOr<std::string> Write(const OpenedModel& model, const std::vector<int32_t>& prompt,
                            const SamplingWords& words,
                            const std::function<void(std::string_view)>& show) {
  DecodeStream stream = model.tokenizer.StartDecoding(/*skip_special_tokens=*/true);
  StopStrings stops(words.stop);
  std::string written;
  const auto tell = [&](const std::string& text) {
    written += text;
    show(text);
  };
  Status decoded = OkStatus();
  RETURN_IF_ERROR(model.engine->Sample({&prompt, 1}, SampleOptionsOf(words, model),
                                       [&](const SampledToken& token) {
                                         if (Ends(model, token.id)) return false;
                                         const auto text = stream.Step(token.id);
                                         decoded = text.status();
                                         if (text.ok()) tell(stops.Feed(*text));
                                         return decoded.ok() && !stops.stopped();
                                       }));
  RETURN_IF_ERROR(decoded);
  if (stops.stopped()) return written;
  ASSIGN_OR_RETURN(const std::string rest, stream.Finish());
  tell(stops.Feed(rest));
  tell(stops.Finish());
  return written;
}

// As transformers does: only what the tokenizer's own template adds.
StatusOr<std::vector<int32_t>> TokensOfText(const OpenedModel& model, const std::string& text) {
  ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                   model.tokenizer.Encode(text, {.add_special_tokens = true}));
  const int32_t bos = model.engine->config().bos_id;
  if (ids.empty() && bos >= 0) ids.push_back(bos);
  return ids;
}

StatusOr<std::vector<int32_t>> TokensOfChat(const OpenedModel& model, const ordered_json& messages,
                                            absl::Time now) {
  if (!model.chat_template.has_value()) {
    return FailedPrecondition(
        "this model has no chat template; give --prompt instead of --chat, or a model that was "
        "trained on conversations");
  }
  const std::string text = messages.dump();
  ASSIGN_OR_RETURN(const std::string rendered,
                   model.chat_template->Render({.messages = text,
                                                .variables = model.template_variables,
                                                .add_generation_prompt = true,
                                                .now = now}));
  return model.tokenizer.Encode(rendered, {.parse_special_tokens = true});
}

ordered_json Message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

ordered_json Conversation(const std::string& system) {
  return system.empty() ? ordered_json::array() : ordered_json::array({Message("system", system)});
}

// The lines of a file: texts, or of a .jsonl file objects with "prompt" or "messages".
struct PromptLine {
  std::string text;
  ordered_json messages;  // null: it is a text
};
StatusOr<std::vector<PromptLine>> ReadPrompts(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string all, ReadFile(path, kPromptFileMax));
  std::vector<PromptLine> prompts;
  int64_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    const std::string line = all.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    if (prompts.size() == kPromptsMax) {
      return InvalidArgument("{} has more than {} prompts", path.string(), kPromptsMax);
    }
    if (path.extension() != ".jsonl") {
      prompts.push_back({.text = line, .messages = {}});
      continue;
    }
    const auto json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool has_text = json.is_object() && json.contains("prompt") && json["prompt"].is_string();
    const bool has_messages =
        json.is_object() && json.contains("messages") && json["messages"].is_array();
    if (!has_text && !has_messages) {
      return InvalidArgument(
          "{}:{}: each line must be an object with the text \"prompt\" or the list \"messages\"",
          path.string(), number);
    }
    prompts.push_back({.text = has_text ? json["prompt"].get<std::string>() : "",
                       .messages = has_text ? ordered_json() : json["messages"]});
  }
  return prompts;
}

// Many prompts: continued together, one JSON line for each in their order.
Status GenerateFile(const OpenedModel& model, const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<PromptLine> lines, ReadPrompts(options.prompts));
  std::vector<std::vector<int32_t>> prompts;
  for (const PromptLine& line : lines) {
    ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                     line.messages.is_null()
                         ? TokensOfText(model, line.text)
                         : TokensOfChat(model, line.messages, options.sampling.now));
    prompts.push_back(std::move(ids));
  }
  std::vector<std::vector<int32_t>> answers(prompts.size());
  RETURN_IF_ERROR(model.engine->Sample(prompts, SampleOptionsOf(options.sampling, model),
                                       [&](const SampledToken& token) {
                                         if (Ends(model, token.id)) return false;
                                         answers[token.prompt].push_back(token.id);
                                         return true;
                                       }));
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSIGN_OR_RETURN(const std::string text,
                     model.tokenizer.Decode(answers[i], /*skip_special_tokens=*/true));
    StopStrings stops(options.sampling.stop);
    std::string shown = stops.Feed(text);
    if (!stops.stopped()) shown += stops.Finish();
    ordered_json line;
    if (lines[i].messages.is_null()) {
      line["prompt"] = lines[i].text;
    } else {
      line["messages"] = lines[i].messages;
    }
    line["completion"] = shown;
    line["tokens"] = answers[i].size();
    Print(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  }
  return OkStatus();
}

}  // namespace

std::filesystem::path TokenizerFile(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? path / "tokenizer.json" : path;
}

Status Generate(const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(options.model, options.sampling.threads));
  if (!options.prompts.empty()) return GenerateFile(model, options);
  std::vector<int32_t> prompt;
  if (options.chat.empty()) {
    ASSIGN_OR_RETURN(prompt, TokensOfText(model, options.prompt));
    Print(options.prompt);
  } else {
    ordered_json messages = Conversation(options.system);
    messages.push_back(Message("user", options.chat));
    ASSIGN_OR_RETURN(prompt, TokensOfChat(model, messages, options.sampling.now));
  }
  RETURN_IF_ERROR(Write(model, prompt, options.sampling, Print).status());
  Print("\n");
  return OkStatus();
}

Status Chat(const ChatOptions& options) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(options.model, options.sampling.threads));
  ordered_json messages = Conversation(options.system);
  std::fprintf(stderr, "Chat with %s: a line is a message; /reset forgets, /quit or Ctrl-D ends.\n",
               options.model.string().c_str());
  char* line = nullptr;
  size_t capacity = 0;
  const absl::Cleanup free_line = [&line] { std::free(line); };
  while (true) {
    std::fputs("> ", stderr);
    const ssize_t size = ::getline(&line, &capacity, stdin);
    if (size < 0) return OkStatus();
    std::string said(line, static_cast<size_t>(size));
    while (!said.empty() && (said.back() == '\n' || said.back() == '\r')) said.pop_back();
    if (said.empty()) continue;
    if (said == "/quit") return OkStatus();
    if (said == "/reset") {
      messages = Conversation(options.system);
      continue;
    }
    messages.push_back(Message("user", said));
    ASSIGN_OR_RETURN(const std::vector<int32_t> prompt,
                     TokensOfChat(model, messages, options.sampling.now));
    StatusOr<std::string> answer = Write(model, prompt, options.sampling, Print);
    if (absl::IsInvalidArgument(answer.status())) {  // too long, and whatever else a line can do
      std::fprintf(stderr, "%s\n", MessageOf(answer.status()).c_str());
      messages.erase(messages.size() - 1);
      continue;
    }
    if (!answer.ok()) return answer.status();
    Print("\n");
    messages.push_back(Message("assistant", *answer));
  }
}

}  // namespace trainyard::worker

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "worker/tool/answer.h"
#include "worker/tool/open_model.h"
#include "worker/tool/prompt.h"
#include "worker/tool/prompts_file.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

// The answers to a file's prompts, which are continued together: one JSON line for each, in the
// prompts' order, as soon as it and those before it have ended.
class FileAnswers {
 public:
  FileAnswers(const OpenedModel& model, const std::vector<std::string>& stop,
              const std::vector<PromptLine>& lines)
      : model_(model), stop_(stop), lines_(lines), answers_(lines.size()), done_(lines.size()) {}

  // False when the answer to its prompt ends with this token.
  StatusOr<bool> Take(const SampledToken& token) {
    std::optional<Answer>& answer = answers_[token.prompt];
    if (!answer.has_value()) answer.emplace(model_, stop_);
    ASSIGN_OR_RETURN(const bool goes_on, answer->Take(token.id));
    if (!goes_on || token.is_last) {
      RETURN_IF_ERROR(answer->Finish());
      End(token.prompt, answer->text(), answer->tokens());
      answer.reset();
    }
    return goes_on;
  }

  // Prompts that filled the model's last place have no answer.
  void Finish() {
    for (size_t i = shown_; i < lines_.size(); ++i)
      if (!done_[i].has_value()) End(i, "", 0);
  }

 private:
  void End(size_t prompt, const std::string& completion, int64_t tokens) {
    const PromptLine& from = lines_[prompt];
    ordered_json line;
    line[from.key] = from.is_text() ? ordered_json(from.text) : from.chat.messages;
    line["completion"] = completion;
    line["tokens"] = tokens;
    done_[prompt] = line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
    for (; shown_ < done_.size() && done_[shown_].has_value(); ++shown_) {
      Print(*done_[shown_]);
      done_[shown_]->clear();
    }
  }

  const OpenedModel& model_;
  const std::vector<std::string>& stop_;
  const std::vector<PromptLine>& lines_;
  std::vector<std::optional<Answer>> answers_;    // those that are being written
  std::vector<std::optional<std::string>> done_;  // lines; empty once shown
  size_t shown_ = 0;                              // all before it are
};

// A template's special tokens cannot be told from those that a message spells out.
Status CheckParsesSpecial(const GenerateOptions& options) {
  if (options.parse_special) return OkStatus();
  return InvalidArgument(
      "--no-parse-special is for texts: a conversation is read with its template's special tokens");
}

StatusOr<std::vector<int32_t>> TokensOf(const OpenedModel& model, const PromptLine& line,
                                        const GenerateOptions& options) {
  if (line.is_text()) return TokensOfText(model, line.text, options.parse_special);
  RETURN_IF_ERROR(CheckParsesSpecial(options));
  return TokensOfChat(model, line.chat, options.sampling.now);
}

Status GenerateFile(const OpenedModel& model, const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const PromptsFile file, ReadPrompts(options.prompts));
  for (const std::string& note : file.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
  const std::vector<PromptLine>& lines = file.lines;
  std::vector<std::vector<int32_t>> prompts;
  for (const PromptLine& line : lines) {
    const StatusOr<std::vector<int32_t>> ids = TokensOf(model, line, options);
    if (!ids.ok()) return Annotate(ids.status(), line.place);
    prompts.push_back(*ids);
  }
  FileAnswers answers(model, options.sampling.stop, lines);
  Status taken = OkStatus();
  RETURN_IF_ERROR(model.engine->Sample(prompts, SampleOptionsOf(options.sampling, model),
                                       [&](const SampledToken& token) {
                                         if (!taken.ok()) return false;
                                         const StatusOr<bool> goes_on = answers.Take(token);
                                         taken = goes_on.status();
                                         return goes_on.ok() && *goes_on;
                                       }));
  RETURN_IF_ERROR(taken);
  answers.Finish();
  return OkStatus();
}

StatusOr<std::vector<int32_t>> PromptOf(const OpenedModel& model, const GenerateOptions& options) {
  if (!options.chat.has_value()) return TokensOfText(model, options.prompt, options.parse_special);
  RETURN_IF_ERROR(CheckParsesSpecial(options));
  ASSIGN_OR_RETURN(ordered_json messages, Conversation(options.system));
  ASSIGN_OR_RETURN(ordered_json message, Message("user", *options.chat));
  messages.push_back(std::move(message));
  return TokensOfChat(model, {.messages = std::move(messages)}, options.sampling.now);
}

}  // namespace

Status Generate(const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(options.model, options.open));
  if (!options.prompts.empty()) return GenerateFile(model, options);
  ASSIGN_OR_RETURN(const std::vector<int32_t> prompt, PromptOf(model, options));
  // The prompt stands before the answer once there is one: an error stands alone.
  std::string before = options.prompt;
  Answer answer(model, options.sampling.stop, [&before](std::string_view text) {
    Print(std::exchange(before, {}));
    Print(text);
  });
  RETURN_IF_ERROR(Continue(model, prompt, options.sampling, answer));
  Print(before + "\n");
  return OkStatus();
}

}  // namespace trainyard::worker

#include <absl/cleanup/cleanup.h>
#include <signal.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "worker/tool/answer.h"
#include "worker/tool/open_model.h"
#include "worker/tool/prompt.h"
#include "worker/tool/tools.h"

namespace trainyard::worker {
namespace {

using nlohmann::ordered_json;

// Ctrl-C ends the answer that is being written; at the prompt it ends the chat. Made before other
// threads are, which inherit that it is blocked.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    Hold();
  }
  void Hold() { pthread_sigmask(SIG_BLOCK, &signals_, nullptr); }
  void Allow() { pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr); }
  bool came() const {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGINT) == 1;
  }
  // Those that came have done their work.
  void Forget() {
    const timespec at_once = {};
    while (sigtimedwait(&signals_, nullptr, &at_once) > 0) {
    }
  }

 private:
  sigset_t signals_;
};

// One conversation. What has been read of it is not read again for the next answer.
class Talk {
 public:
  static StatusOr<Talk> Begin(const OpenedModel& model, const ChatOptions& options,
                              const Interrupts& interrupts) {
    ASSIGN_OR_RETURN(ordered_json opening, Conversation(options.system));
    return Talk(model, options, interrupts, std::move(opening));
  }

  void Reset() { messages_ = opening_; }

  // Shows and keeps the answer. InvalidArgument (the line is too long, or not UTF-8): what was said
  // is as if it had not been.
  Status Say(const std::string& line) {
    ASSIGN_OR_RETURN(ordered_json message, Message("user", line));
    messages_.push_back(std::move(message));
    const Status answered = Reply();
    if (absl::IsInvalidArgument(answered)) messages_.erase(messages_.size() - 1);
    return answered;
  }

 private:
  Talk(const OpenedModel& model, const ChatOptions& options, const Interrupts& interrupts,
       ordered_json opening)
      : model_(model),
        options_(options),
        interrupts_(interrupts),
        opening_(std::move(opening)),
        messages_(opening_) {}

  Status Reply() {
    ASSIGN_OR_RETURN(const std::vector<int32_t> prompt,
                     TokensOfChat(model_, {.messages = messages_}, options_.sampling.now));
    Answer answer(model_, options_.sampling.stop, Print);
    answer.EndWhen([this] { return interrupts_.came(); });
    RETURN_IF_ERROR(Continue(model_, prompt, options_.sampling, answer, &read_));
    Print("\n");
    ASSIGN_OR_RETURN(ordered_json message, Message("assistant", answer.text()));
    messages_.push_back(std::move(message));
    return OkStatus();
  }

  const OpenedModel& model_;
  const ChatOptions& options_;
  const Interrupts& interrupts_;
  const ordered_json opening_;
  ordered_json messages_;
  PrefixCache read_;
};

}  // namespace

Status Chat(const ChatOptions& options) {
  Interrupts interrupts;
  ASSIGN_OR_RETURN(const OpenedModel model, OpenModel(options.model, options.open));
  if (!model.chat_template.has_value())
    return FailedPrecondition(
        "{} has no chat template; `trainyard generate --prompt` goes on from text",
        options.model.string());
  ASSIGN_OR_RETURN(Talk talk, Talk::Begin(model, options, interrupts));
  std::fprintf(stderr,
               "Chat with %s: a line is a message; /reset forgets, Ctrl-C ends an answer, "
               "/quit or Ctrl-D the chat.\n",
               options.model.string().c_str());
  char* line = nullptr;
  size_t capacity = 0;
  const absl::Cleanup free_line = [&line] { std::free(line); };
  while (true) {
    std::fputs("> ", stderr);
    interrupts.Allow();
    const ssize_t size = ::getline(&line, &capacity, stdin);
    interrupts.Hold();
    if (size < 0) {
      std::fputs("\n", stderr);
      return OkStatus();
    }
    std::string said(line, static_cast<size_t>(size));
    while (!said.empty() && (said.back() == '\n' || said.back() == '\r')) said.pop_back();
    if (said.empty()) continue;
    if (said == "/quit") return OkStatus();
    if (said == "/reset") {
      talk.Reset();
      continue;
    }
    const Status answered = talk.Say(said);
    interrupts.Forget();
    if (absl::IsInvalidArgument(answered)) {
      std::fprintf(stderr, "%s\n", MessageOf(answered).c_str());
    } else if (!answered.ok()) {
      return answered;
    }
  }
}

}  // namespace trainyard::worker

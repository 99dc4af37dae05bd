// The text library for tests in Python: one JSON request a line on standard input, one answer a
// line on standard output. An answer with "error" has the status's code and message.
//
//   {"do": "tokenizer", "path": P}     loads a tokenizer.json; later requests use it
//   {"do": "template", "source": S}    compiles a chat template; later requests use it
//   {"do": "chat", "messages": M, "tools": T, "variables": V, "prompt": B, "now": SECONDS,
//    "spans": B}                       M, T, V are JSON texts; spans: also bytes, ids and mask
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/files.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using Json = nlohmann::json;

class Peer {
 public:
  StatusOr<Json> Answer(const Json& request) {
    const std::string what = request.value("do", "");
    if (what == "tokenizer") return LoadTokenizer(request);
    if (what == "template") return CompileTemplate(request);
    if (what == "chat") return Chat(request);
    return InvalidArgument("no request is called {}", what);
  }

 private:
  StatusOr<Json> LoadTokenizer(const Json& request) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(request.value("path", "")));
    ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(json));
    tokenizer_.emplace(std::move(tokenizer));
    return Json{{"vocab_size", tokenizer_->vocab_size()}};
  }

  StatusOr<Json> CompileTemplate(const Json& request) {
    ASSIGN_OR_RETURN(ChatTemplate compiled, ChatTemplate::Compile(request.value("source", "")));
    template_.emplace(std::move(compiled));
    return Json{{"marks_generation", template_->marks_generation()}};
  }

  StatusOr<Json> Chat(const Json& request) {
    if (!template_.has_value()) return FailedPrecondition("no template was compiled");
    const std::string messages = request.value("messages", "[]");
    const std::string tools = request.value("tools", "");
    const std::string variables = request.value("variables", "");
    ChatInput input = {.messages = messages, .tools = tools, .variables = variables};
    input.add_generation_prompt = request.value("prompt", false);
    if (request.contains("now")) input.now = absl::FromUnixSeconds(request.value("now", 0));
    if (!request.value("spans", false)) {
      ASSIGN_OR_RETURN(const std::string text, template_->Render(input));
      return Json{{"text", text}};
    }
    if (!tokenizer_.has_value()) return FailedPrecondition("no tokenizer was loaded");
    ASSIGN_OR_RETURN(const RenderedChat chat, template_->RenderWithSpans(input));
    ASSIGN_OR_RETURN(const TokenizedChat tokens, TokenizeChat(*tokenizer_, chat));
    Json spans = Json::array();
    for (const TextRange& range : chat.generated)
      spans.push_back(Json::array({range.begin, range.end}));
    return Json{
        {"text", chat.text}, {"spans", spans}, {"ids", tokens.ids}, {"trained", tokens.trained}};
  }

  std::optional<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
};

Json AnswerLine(Peer& peer, const std::string& line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  StatusOr<Json> answer = InvalidArgument("the line is not a JSON object");
  if (request.is_object()) answer = peer.Answer(request);
  if (answer.ok()) return *std::move(answer);
  return Json{{"error", MessageOf(answer.status())},
              {"code", absl::StatusCodeToString(answer.status().code())}};
}

}  // namespace
}  // namespace trainyard::worker

int main() {
  trainyard::worker::Peer peer;
  for (std::string line; std::getline(std::cin, line);)
    std::cout << trainyard::worker::AnswerLine(peer, line).dump() << std::endl;
  return 0;
}

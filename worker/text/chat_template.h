// Chat templates: a conversation becomes the text a model was trained on, and the tokens that the
// assistant wrote become its targets. Templates are Jinja 3.1.6 with Python's values, as Hugging
// Face transformers 5 renders it; the interpreter is src/jinja of this folder's crate.
//
// Templates come with models and are not trusted: they are bounded, and reach nothing outside. What
// cannot be as in Python is an error that names it (docs/decisions/0007).
#pragma once

#include <absl/time/time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/text/special_tokens.h"
#include "worker/text/tokenizer.h"

struct TyTemplate;

namespace trainyard::worker {

// A template that needs more is refused with ResourceExhausted.
struct ChatTemplateLimits {
  size_t source_bytes_max = 256 << 10;
  // Statements, expressions and items; 64 bytes of text made or read count as one. A conversation
  // takes some 50 a message.
  uint64_t steps_max = 2'000'000;
  size_t output_bytes_max = 16 << 20;
};

// What a template is given. JSON texts; keys keep their order.
struct ChatInput {
  std::string_view messages;        // an array of objects with "role" and, mostly, "content"
  std::string_view tools = {};      // an array of JSON schemas; empty: none
  std::string_view variables = {};  // an object: "bos_token", "enable_thinking", ...; empty: none
  bool add_generation_prompt = false;
  // The wall clock that strftime_now reads, as UTC. A template that asks for the time is refused
  // when there is none.
  std::optional<absl::Time> now = {};
};

struct RenderedChat {
  std::string text;
  std::vector<TextRange> generated;  // what the assistant wrote: in order, disjoint, not empty
};

// May be used by many threads at once.
class ChatTemplate {
 public:
  // InvalidArgument: not a template; the message names the line.
  static StatusOr<ChatTemplate> Compile(std::string_view source,
                                        const ChatTemplateLimits& limits = {});

  // Whether it marks what the assistant wrote by {% generation %} blocks.
  bool marks_generation() const { return marks_generation_; }

  // As transformers' apply_chat_template(tokenize=False): nulls of messages are left out, reasoning
  // is found under each of its names. InvalidArgument also for what raise_exception says.
  StatusOr<std::string> Render(const ChatInput& input) const;

  // The same, and what the assistant wrote: what the template's generation blocks rendered, or, for
  // a template without them, what each assistant message adds behind the generation prompt (white
  // space behind its end-of-turn token left out). FailedPrecondition when a template without blocks
  // renders a turn differently once others follow it, so that its text does not tell.
  StatusOr<RenderedChat> RenderWithSpans(const ChatInput& input) const;

 private:
  struct Free {
    void operator()(TyTemplate* chat_template) const;
  };
  using Handle = std::unique_ptr<TyTemplate, Free>;
  explicit ChatTemplate(Handle handle);
  StatusOr<RenderedChat> RenderFlagged(const ChatInput& input, uint32_t flags) const;
  Handle handle_;
  bool marks_generation_ = false;
};

struct TokenizedChat {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;  // [ids] 1 where the token has a byte that the assistant wrote
};

// The ids of a rendered conversation: special tokens written by the template become their ids, none
// are added. A token at the border of a span counts as the assistant's.
//
// As transformers' return_assistant_tokens_mask, save that a last character cut into several tokens
// is trained whole: transformers leaves out all but its first.
StatusOr<TokenizedChat> TokenizeChat(const Tokenizer& tokenizer, const RenderedChat& chat);

// A model's templates. `jinja_file`: the text of chat_template.jinja; `additional`: those of the
// folder additional_chat_templates, by name. Where there is one of them they are all; else
// `tokenizer_config`: the text of tokenizer_config.json, whose "chat_template" is a text or a list
// of
// {"name", "template"}.
struct NamedTemplate {
  std::string name;
  std::string source;
};
struct TemplateFiles {
  std::optional<std::string_view> jinja_file = {};
  std::vector<NamedTemplate> additional = {};
  std::optional<std::string_view> tokenizer_config = {};
};

// All of them; the only one, and the one of chat_template.jinja, is called "default".
// InvalidArgument: tokenizer_config.json has something else under "chat_template".
StatusOr<std::vector<NamedTemplate>> ChatTemplatesOf(const TemplateFiles& files);

// Which template a model folder has. `name` picks one; empty means "default", or "tool_use" for a
// conversation with tools where there is one. NotFound: the folder has none (of that name).
struct TemplateChoice {
  std::optional<std::string_view> jinja_file = {};
  std::optional<std::string_view> tokenizer_config = {};
  std::string_view name = {};
  bool with_tools = false;
  std::vector<NamedTemplate> additional = {};
};
StatusOr<std::string> ChooseChatTemplate(const TemplateChoice& choice);

// The special tokens that templates see: {"bos_token": "<s>", ...}, a JSON object for
// ChatInput::variables. They are those that the files name (special_tokens.h), else those of the
// tokenizer class that tokenizer_config.json names.
StatusOr<std::string> TemplateVariables(const TokenFiles& files);

}  // namespace trainyard::worker

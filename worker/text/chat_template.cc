#include "worker/text/chat_template.h"

#include <algorithm>
#include <utility>

#include "common/require.h"
#include "worker/text/abi_call.h"

namespace trainyard::worker {
namespace {

constexpr std::string_view kAbout = "chat template";

}  // namespace

void ChatTemplate::Free::operator()(TyTemplate* chat_template) const {
  ty_template_free(chat_template);
}

ChatTemplate::ChatTemplate(Handle handle)
    : handle_(std::move(handle)),
      marks_generation_(ty_template_marks_generation(handle_.get()) != 0) {}

StatusOr<ChatTemplate> ChatTemplate::Compile(std::string_view source,
                                             const ChatTemplateLimits& limits) {
  TyTemplate* compiled = nullptr;
  const TyTemplateLimits bounds = {limits.source_bytes_max, limits.steps_max,
                                   limits.output_bytes_max};
  RETURN_IF_ERROR(CallCrate(kAbout, ty_template_compile, SliceOf(source), bounds, &compiled));
  return ChatTemplate(Handle(compiled));
}

StatusOr<std::string> ChatTemplate::Render(const ChatInput& input) const {
  ASSIGN_OR_RETURN(RenderedChat rendered, RenderFlagged(input, 0));
  return std::move(rendered.text);
}

StatusOr<RenderedChat> ChatTemplate::RenderWithSpans(const ChatInput& input) const {
  return RenderFlagged(input, TY_SPANS);
}

StatusOr<RenderedChat> ChatTemplate::RenderFlagged(const ChatInput& input, uint32_t flags) const {
  if (input.add_generation_prompt) flags |= TY_GENERATION_PROMPT;
  const int64_t now = input.now.has_value() ? absl::ToUnixSeconds(*input.now) : 0;
  OwnedArray<TyBytes> text;
  OwnedArray<TySizes> spans;
  RETURN_IF_ERROR(CallCrate(kAbout, ty_template_render, handle_.get(), SliceOf(input.messages),
                            SliceOf(input.tools), SliceOf(input.variables),
                            input.now.has_value() ? &now : nullptr, flags, &text.array,
                            &spans.array));
  REQUIRE(spans.array.size % 2 == 0);
  RenderedChat rendered{text.text(), {}};
  for (size_t i = 0; i < spans.array.size; i += 2)
    rendered.generated.push_back({spans.array.data[i], spans.array.data[i + 1]});
  return rendered;
}

StatusOr<TokenizedChat> TokenizeChat(const Tokenizer& tokenizer, const RenderedChat& chat) {
  ASSIGN_OR_RETURN(EncodedText encoded,
                   tokenizer.EncodeWithRanges(chat.text, {.parse_special_tokens = true}));
  TokenizedChat tokenized{std::move(encoded.ids), {}};
  tokenized.trained.reserve(tokenized.ids.size());
  for (const TextRange& token : encoded.ranges) {
    // The first span that ends behind the token's begin.
    const auto span =
        std::upper_bound(chat.generated.begin(), chat.generated.end(), token.begin,
                         [](size_t begin, const TextRange& range) { return begin < range.end; });
    tokenized.trained.push_back(span != chat.generated.end() && span->begin < token.end);
  }
  return tokenized;
}

}  // namespace trainyard::worker

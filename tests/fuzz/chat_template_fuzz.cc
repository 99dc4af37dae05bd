#include <absl/time/time.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/require.h"
#include "worker/text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard::worker;
  // Tight bounds, so that a template that goes on for ever ends within a run's patience.
  const auto compiled = ChatTemplate::Compile({reinterpret_cast<const char*>(data), size},
                                              {.steps_max = 20'000, .output_bytes_max = 1 << 16});
  if (!compiled.ok()) return 0;
  const ChatInput input{
      .messages = R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                      {"role": "assistant", "content": "Hello 東京"}])",
      .tools = R"([{"name": "add", "parameters": {"a": {"type": "number"}}}])",
      .variables = R"({"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": true})",
      .add_generation_prompt = true,
      .now = absl::FromUnixSeconds(1'750'000'000)};
  const auto rendered = compiled->RenderWithSpans(input);
  if (!rendered.ok()) return 0;
  size_t end = 0;
  for (const TextRange& range : rendered->generated) {
    REQUIRE(range.begin >= end && range.begin < range.end && range.end <= rendered->text.size());
    end = range.end;
  }
  return 0;
}

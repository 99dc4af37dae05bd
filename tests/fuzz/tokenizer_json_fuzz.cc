#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "worker/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard::worker;
  const auto tokenizer = Tokenizer::Load({reinterpret_cast<const char*>(data), size});
  if (!tokenizer.ok()) return 0;
  const auto ids = tokenizer->Encode("Hello, wörld! 東京 <s>", {.add_special_tokens = true});
  if (!ids.ok()) return 0;
  tokenizer->Decode(*ids).status().IgnoreError();
  DecodeStream stream = tokenizer->StartDecoding();
  for (const int32_t id : *ids) stream.Step(id).status().IgnoreError();
  stream.Finish().status().IgnoreError();
  return 0;
}

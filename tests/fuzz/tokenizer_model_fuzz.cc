#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"

// What is read becomes a tokenizer.json that can be loaded, and encodes any text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace trainyard::worker;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto made = TokenizerJsonFromLegacy({.tokenizer_model = file});
  if (!made.ok()) return 0;
  const auto tokenizer = Tokenizer::Load(made->tokenizer_json);
  if (!tokenizer.ok()) std::abort();
  const auto ids = tokenizer->Encode("  Hello, w\u00f6rld! \u6771\u4eac \uff21\u0301 <s>", {});
  if (!ids.ok()) std::abort();
  tokenizer->Decode(*ids).status().IgnoreError();
  return 0;
}

// What a model has read of the text that it continued last, kept so that a text which begins alike
// is not read again: the next turn of a conversation goes on from those before it.
//
// For one engine, which forgets it when its weights have changed. As large as a KV cache of that
// text: 2 x layers x tokens x kv_heads x head_width numbers of the weights' type.
#pragma once

#include <cstdint>
#include <memory>

namespace trainyard::worker {

struct PrefixText;  // worker/engine/generator.h

struct PrefixCache {
  PrefixCache();
  ~PrefixCache();
  PrefixCache(PrefixCache&&) noexcept;
  PrefixCache& operator=(PrefixCache&&) noexcept;

  std::unique_ptr<PrefixText> text;  // null: nothing yet
  int64_t reused = 0;                // tokens of the last prompt that were not read again
};

}  // namespace trainyard::worker

// Continues prompts: the body of Engine::Sample, on a checked request.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/engine/engine.h"
#include "worker/engine/prefix_cache.h"
#include "worker/model/transformer.h"

namespace trainyard::worker {

struct PrefixText {
  const Transformer* model = nullptr;  // that read it
  int64_t weights_version = 0;         // of its weights then
  std::vector<int32_t> tokens;         // as many as the cache is long
  KvCache cache;
};

// `prefix` may be null; else there is one prompt, and a text in it is of this model as it is now.
void Generate(const Transformer& model, const ModelConfig& config,
              std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
              const Engine::OnToken& on_token, PrefixCache* prefix);

}  // namespace trainyard::worker

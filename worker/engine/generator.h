// Continues prompts: the body of Engine::Sample, on a checked request.
#pragma once

#include <span>
#include <vector>

#include "worker/engine/engine.h"
#include "worker/model/transformer.h"

namespace trainyard::worker {

void Generate(const Transformer& model, const ModelConfig& config,
              std::span<const std::vector<int32_t>> prompts, const SampleOptions& options,
              const Engine::OnToken& on_token);

}  // namespace trainyard::worker

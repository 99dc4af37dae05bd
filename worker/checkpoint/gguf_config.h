// A Hugging Face config.json for the model in a GGUF file, from its metadata and tensors.
#pragma once

#include <nlohmann/json.hpp>

#include "common/status.h"
#include "worker/checkpoint/gguf.h"

namespace trainyard::worker {

// What transformers' own GGUF loading makes of it, and beyond that what the file tells and
// transformers leaves out: soft caps, sliding windows, the scaling of the rotary embedding.
// Unimplemented for an architecture that we do not read; InvalidArgument naming the key that is
// missing or does not fit.
StatusOr<nlohmann::ordered_json> ConfigFromGguf(const GgufFile& file);

}  // namespace trainyard::worker

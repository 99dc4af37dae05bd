// A Hugging Face config.json for the model in a GGUF file, from its metadata and tensors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf.h"

namespace trainyard::worker {

struct GgufConfig {
  nlohmann::ordered_json config;
  std::vector<std::string> notes = {};  // on keys that are not used
};

// What llama.cpp computes for the file, in the words of transformers' config classes: also what
// transformers' own GGUF loading leaves out (soft caps, sliding windows, the scaling of the rotary
// embedding). Unimplemented for an architecture that we do not read, and for a key that says more
// than we compute (worker/checkpoint/gguf_key_rules.h); InvalidArgument naming the key that is
// missing or does not fit.
StatusOr<GgufConfig> ConfigFromGguf(const GgufFile& file);

}  // namespace trainyard::worker

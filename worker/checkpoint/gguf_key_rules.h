// What we do with each key that a GGUF file has under its architecture's own name, so that none is
// passed over in silence. llama.cpp is the measure: what it reads for an architecture, we read or
// refuse; what it does not read there changes nothing. Facts: src/llama-arch.cpp,
// src/llama-model.cpp and src/models/ of llama.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_fields.h"

namespace trainyard::worker {

enum class GgufKeyRule {
  kUsed,      // the config is made of it
  kNeutral,   // llama.cpp computes otherwise where it is not the value at which it does nothing
  kHarmless,  // changes nothing that we compute
  kUnread,    // llama.cpp does not read it for this architecture either: said in a note
};

// `key` without the architecture.
GgufKeyRule RuleOfGgufKey(std::string_view architecture, std::string_view key);

// A note for each key that is not used and might be thought to matter. Unimplemented, naming key
// and value, for one that is kNeutral and does not have its neutral value.
StatusOr<std::vector<std::string>> CheckGgufKeys(const GgufMetadata& metadata,
                                                 const GgufFields& fields);

}  // namespace trainyard::worker

// A batch comes from files and other processes: nothing of it is used before this has seen it.
#pragma once

#include <cstdint>
#include <vector>

#include "common/model/config.h"
#include "common/status.h"
#include "worker/data/batch.h"

namespace trainyard::worker {

// InvalidArgument naming the field, the place in it and the rule.
Status CheckBatch(const Batch& batch, const ModelConfig& config);
// The same for the prompt of Sample: not empty, and with room for one more token.
Status CheckPrompt(const std::vector<int32_t>& prompt, const ModelConfig& config);

}  // namespace trainyard::worker

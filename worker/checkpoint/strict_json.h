// JSON from files that we did not write: strict UTF-8, no duplicate keys, no zero bytes, nothing
// after the document, a bound on how deep it nests.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

// DataLoss saying what is wrong and where.
StatusOr<nlohmann::json> ParseStrictJson(std::string_view text, size_t depth_max);

}  // namespace trainyard::worker

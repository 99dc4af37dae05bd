// How a rank says how far a long reading is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/checkpoint_manifest.h"
#include "worker/loop/rank_link.h"

namespace trainyard::worker {

// "reading weights, 120 of 538 MB".
std::string SayReading(std::string_view what, int64_t done_bytes, int64_t total_bytes);

// Tells the link with every piece; told to stop now, the reading ends with the reason STOPPED. The
// link outlives it.
ReadProgress TellReading(RankLink& link);

}  // namespace trainyard::worker

// A trainer's words made fit for the wire.
#pragma once

#include <string>

#include "common/link/messages.h"
#include "trainyard/v1/worker_service.pb.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {

// `text` with every byte that is not part of valid UTF-8 replaced by '?': one such byte in a proto
// string would make the receiver drop the whole stream.
std::string Utf8(std::string text);

v1::TelemetryRequest ToRequest(const RankKey& key, link::Telemetry words);

}  // namespace trainyard::worker

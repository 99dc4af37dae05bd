// Telemetry that a trainer could not hand to any agent before it ended: frames, one after another.
#pragma once

#include <filesystem>
#include <vector>

#include "common/link/frame.h"
#include "common/status.h"

namespace trainyard::link {

struct NumberedTelemetry {
  // Of the telemetry channel: an agent skips those up to the last it has received.
  uint64_t sequence = 0;
  Telemetry message = {};
};

Status WriteTelemetryFile(const std::filesystem::path& path, const std::vector<Frame>& frames);

// All messages before the first damaged byte; DataLoss names the byte and the rule only if there is
// none at all before it.
StatusOr<std::vector<NumberedTelemetry>> ReadTelemetryFile(const std::filesystem::path& path);

}  // namespace trainyard::link

// What a trainer leaves when it ends, since the exit status of an adopted process cannot be read:
// one JSON file, written atomically as the last thing it does. No record means it was killed.
#pragma once

#include <filesystem>
#include <string>

#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::link {

inline constexpr char kExitRecordFile[] = "exit.json";              // in RankSpec::work_dir
inline constexpr char kUnsentTelemetryFile[] = "telemetry.unsent";  // in RankSpec::work_dir

struct ExitRecord {
  double wall_time = 0;    // seconds since 1970
  RankStatus status = {};  // its last; status.outcome is set
  // Telemetry that no agent had acknowledged (link_server.h writes it); a file name in the same
  // folder, empty when there was none.
  std::string telemetry_file = {};
};

Status WriteExitRecord(const std::filesystem::path& path, const ExitRecord& record);
// NotFound when there is none; InvalidArgument names the field that is wrong.
StatusOr<ExitRecord> ReadExitRecord(const std::filesystem::path& path);

}  // namespace trainyard::link

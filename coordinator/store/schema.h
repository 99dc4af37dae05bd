// The tables of the coordinator's database, and what is checked before it is believed.
#pragma once

#include <filesystem>
#include <memory>

#include "common/status.h"
#include "coordinator/store/sqlite.h"

namespace trainyard::coordinator {

// Opens or creates `path`: exclusive (a second coordinator is refused), WAL, synchronous=FULL.
// DataLoss when quick_check finds damage; FailedPrecondition when a newer build wrote it.
StatusOr<std::unique_ptr<Sqlite>> OpenDatabase(const std::filesystem::path& path);

}  // namespace trainyard::coordinator

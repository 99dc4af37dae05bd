// Who holds a lock file: its process writes itself into the file, others tell of it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/status.h"

namespace trainyard {

// Writes this process into the lock file, which `fd` has locked.
Status WriteLockOwner(int fd, const std::filesystem::path& path);
// Describes the process that holds the lock file now; nothing when none does or there is no file.
std::optional<std::string> LockHolder(const std::filesystem::path& path);
// "process 4711, since 2026-11-03 14:05:09 UTC"; "an unknown process" when the file does not say.
std::string DescribeLockOwner(const std::filesystem::path& path);

}  // namespace trainyard

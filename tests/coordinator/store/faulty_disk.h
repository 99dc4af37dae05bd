// SQLite on a disk that can be full or break: a VFS around the system's, made the default while it
// lives. Writes fail with SQLITE_FULL, or fsync with SQLITE_IOERR_FSYNC, when told.
#pragma once

#include <sqlite3.h>

#include <atomic>

namespace trainyard::coordinator {

class FaultyDisk {
 public:
  FaultyDisk();
  ~FaultyDisk();
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  std::atomic<bool> full = false;
  std::atomic<bool> fsync_fails = false;

 private:
  sqlite3_vfs* const under_;
  sqlite3_vfs vfs_;
};

}  // namespace trainyard::coordinator

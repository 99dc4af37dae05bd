// Follows the log file of one rank, which its trainer appends to, and keeps it from filling the
// disk.
//
// The log as the coordinator stores it is a sequence of bytes by offset. It is the file without its
// holes: shipped bytes are punched out of the file (the file's length keeps growing, its blocks go
// back to the disk), and when more than `retained_bytes_max` wait to be shipped, the middle of what
// waits is punched out too and a line of text stands in its place. So the file itself remembers
// what was dropped, also over the agent's death.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

// The same place in both countings.
struct LogPlace {
  int64_t stored = 0;  // offset at the coordinator
  int64_t file = 0;    // offset in the file
  bool operator==(const LogPlace&) const = default;
};

struct LogPiece {
  int64_t stored_offset = 0;
  std::string bytes;
  LogPlace end;  // where the log goes on after these bytes
};

inline constexpr std::string_view kDroppedLogLine =
    "\n[trainyard-worker: log bytes dropped here: written faster than they could be shipped]\n";

class LogTail {
 public:
  // `place`: acknowledged up to here. The file need not exist yet.
  LogTail(std::filesystem::path path, LogPlace place, int64_t retained_bytes_max)
      : path_(std::move(path)),
        retained_bytes_max_(retained_bytes_max),
        next_(place),
        punched_(place.file) {}

  // The next bytes, at most `max_bytes`; nothing when there are none now.
  StatusOr<std::optional<LogPiece>> Read(int64_t max_bytes);

  // The bytes before `place` are safe elsewhere: gives their blocks back to the disk.
  Status Release(const LogPlace& place);

  // Punches out the middle of what waits to be read when it is more than the bound. Returns the
  // bytes dropped by this call. Call it often: between two calls the file grows as fast as the disk
  // takes it.
  StatusOr<int64_t> Bound();

  // Goes on reading at `place`.
  void Seek(const LogPlace& place) { next_ = place; }

  const LogPlace& next() const { return next_; }
  // True when everything in the file was read.
  StatusOr<bool> AtEnd();

 private:
  // Opens the file if it is there by now; the file's length, 0 when it is absent.
  StatusOr<int64_t> Length();
  Status Punch(int64_t from, int64_t to);

  std::filesystem::path path_;
  int64_t retained_bytes_max_;
  UniqueFd fd_;
  LogPlace next_;
  int64_t punched_;  // file bytes before this are holes, as far as blocks allow
};

}  // namespace trainyard::worker

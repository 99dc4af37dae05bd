// What ranks print, as the coordinator keeps it: one append-only file per (job, attempt, rank),
// addressed by byte offset, so that repeating an append does no harm and a reader resumes where it
// was. Beside each lies an index of (time, offset), one entry a second at most, for `since`.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <compare>
#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"
#include "common/status.h"
#include "coordinator/history/sync_group.h"

namespace trainyard::coordinator {

struct LogKey {
  JobId job;
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  auto operator<=>(const LogKey&) const = default;
};

struct LogEntry {
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  int64_t size = 0;  // bytes stored
};

struct LogAppended {
  int64_t end = 0;   // where the log goes on
  bool gap = false;  // nothing was stored: the bytes from `end` on must come first
};

struct LogOptions {
  // Of one rank in one attempt. A line says so when it is reached; what follows is dropped.
  int64_t quota_bytes = int64_t{64} << 20;
  // Files kept open for appending; more costs descriptors, fewer costs an open per append.
  size_t open_files_max = 128;
};

// Thread-safe.
class LogStore {
 public:
  // `sync` outlives the store.
  LogStore(std::filesystem::path folder, LogOptions options, SyncGroup& sync);

  // Bytes below the known end are skipped; InvalidArgument for a key that is none.
  StatusOr<LogAppended> Append(const LogKey& key, int64_t offset, std::string_view bytes,
                               absl::Time now);
  // Up to `max_bytes` from `offset`; empty at the end, and where there is no such log.
  StatusOr<std::string> Read(const LogKey& key, int64_t offset, int64_t max_bytes) const;
  // By attempt, then rank.
  StatusOr<std::vector<LogEntry>> List(const JobId& job) const;
  // An offset at or before the first byte that was stored at `since` or later.
  StatusOr<int64_t> OffsetAt(const LogKey& key, absl::Time since) const;

  // Keeps no file of the job open, so that they may be deleted.
  void Close(const JobId& job);

 private:
  struct OpenLog;

  StatusOr<std::filesystem::path> PathOf(const LogKey& key) const;
  StatusOr<std::shared_ptr<OpenLog>> Find(const LogKey& key);
  StatusOr<std::shared_ptr<OpenLog>> OpenFiles(const LogKey& key) const;
  Status WriteTo(OpenLog& log, std::string_view bytes, absl::Time now);

  const std::filesystem::path folder_;
  const LogOptions options_;
  SyncGroup& sync_;
  absl::Mutex mu_;
  // Least recently used first; at most open_files_max.
  std::list<std::pair<LogKey, std::shared_ptr<OpenLog>>> recent_ ABSL_GUARDED_BY(mu_);
  std::map<LogKey, std::list<std::pair<LogKey, std::shared_ptr<OpenLog>>>::iterator> open_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::coordinator

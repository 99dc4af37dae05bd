// What jobs leave behind as they go: logs, metric points, notes of their trainers. Files under one
// folder, a subfolder per job; no lock of the coordinator, no event log.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/history/log_store.h"
#include "coordinator/history/point_store.h"
#include "coordinator/history/sync_group.h"

namespace trainyard::coordinator {

struct HistoryOptions {
  LogOptions logs = {};
  PointOptions points = {};
  // Called once when bytes could not be made durable; nothing is acknowledged afterwards.
  std::function<void(const Status&)> on_failure = [](const Status&) {};
};

// Something a trainer wanted people to know: "evaluation", "checkpoint_failed".
struct TrainerNote {
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  double wall_time = 0;  // seconds since 1970
  std::string type, message;
};

struct HistorySize {
  int64_t files = 0;
  int64_t bytes = 0;
};

// Thread-safe.
class History {
 public:
  // `folder` is created when it is absent.
  static StatusOr<std::unique_ptr<History>> Open(const std::filesystem::path& folder,
                                                 HistoryOptions options);

  LogStore& logs() { return logs_; }
  PointStore& points() { return points_; }
  const PointStore& points() const { return points_; }
  // At most 1 MiB of notes are kept per job; the newest are lost.
  Status AppendNote(const JobId& job, const TrainerNote& note);
  // The newest `limit` of the first 1 MiB, oldest first, each once.
  StatusOr<std::vector<TrainerNote>> Notes(const JobId& job, size_t limit) const;

  // Deletes all that was kept of the job; OK when there is nothing. What is appended later begins
  // anew, so nobody may speak for the job any more.
  Status Delete(const JobId& job);
  // Of all jobs; walks the files.
  StatusOr<HistorySize> Size() const;

  // Calls `done` (from another thread) once everything appended before this call is durable.
  void WhenSynced(std::function<void(const Status&)> done) { sync_.WhenSynced(std::move(done)); }

 private:
  History(std::filesystem::path folder, const HistoryOptions& options);
  StatusOr<std::filesystem::path> NotesPath(const JobId& job) const;

  const std::filesystem::path folder_;
  SyncGroup sync_;
  LogStore logs_;
  PointStore points_;
};

}  // namespace trainyard::coordinator

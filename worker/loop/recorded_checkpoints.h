// Which checkpoints of a job run by hand count: OUT/recorded.json, what the coordinator's event log
// is to a submitted job.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "common/blob_store.h"
#include "common/ids.h"
#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::worker {

class RecordedCheckpoints {
 public:
  // An absent file has none. DataLoss when it does not parse. `blobs` outlives this object.
  static StatusOr<RecordedCheckpoints> Open(const std::filesystem::path& file, BlobStore* blobs);

  const std::vector<link::WrittenCheckpoint>& checkpoints() const { return checkpoints_; }
  AttemptNumber attempts() const { return attempts_; }

  // Counts one attempt more, durably, and returns its number.
  StatusOr<AttemptNumber> BeginAttempt();
  // Records a checkpoint, durably, and deletes all but the newest `limit` (0: keeps all).
  Status Record(const link::WrittenCheckpoint& checkpoint, int64_t limit);
  // The newest whose every byte is what was written; damaged ones are named in the log, and those
  // after the one returned are forgotten. Nothing when none was ever recorded; DataLoss, reason
  // CHECKPOINT_DAMAGED, when all are damaged.
  StatusOr<std::optional<link::ResumePoint>> NewestIntact();
  // Deletes folders of `job` that are not recorded: what a killed attempt left.
  Status Sweep(const JobId& job);

 private:
  RecordedCheckpoints(std::filesystem::path file, BlobStore* blobs)
      : file_(std::move(file)), blobs_(blobs) {}
  Status Save() const;
  std::filesystem::path file_;
  BlobStore* blobs_;
  AttemptNumber attempts_ = 0;
  std::vector<link::WrittenCheckpoint> checkpoints_;  // oldest first
};

}  // namespace trainyard::worker

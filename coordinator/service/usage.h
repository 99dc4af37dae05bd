// What the coordinator's store takes on its disk: for `trainyard du` and for /metrics.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/ids.h"
#include "coordinator/history/history.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

struct UsageOfKind {
  std::string kind;  // checkpoints | datasets | prepared | history | database
  int64_t files = 0;
  int64_t bytes = 0;
};

struct UsageOfJob {
  JobId job;
  int64_t checkpoints = 0;  // folders
  int64_t bytes = 0;
};

struct Usage {
  std::vector<UsageOfKind> kinds;
  std::vector<UsageOfJob> jobs;  // that have checkpoints, most bytes first
  int64_t free_bytes = 0;        // of the BlobStore's disk, for us; both 0 when it is elsewhere
  int64_t disk_bytes = 0;
  bool complete = true;  // false: there are more files than were counted
  absl::Time time;
};

// Walks the files; takes no lock of the coordinator. Counts at most `files_max` blobs.
StatusOr<Usage> MeasureUsage(BlobStore& blobs, const History& history, Store& store, absl::Time now,
                             int64_t files_max = 1'000'000);

// Measures once at a time, however many ask. Thread-safe.
class UsageMeter {
 public:
  // All of them outlive this object.
  UsageMeter(BlobStore& blobs, const History& history, Store& store, const Clock& clock)
      : blobs_(blobs), history_(history), store_(store), clock_(clock) {}

  // Measured now, or within the last second.
  StatusOr<std::shared_ptr<const Usage>> Measure();
  // What was measured last; null before that.
  std::shared_ptr<const Usage> newest() const;

 private:
  BlobStore& blobs_;
  const History& history_;
  Store& store_;
  const Clock& clock_;
  absl::Mutex measuring_;  // held for the walk; taken before mu_
  mutable absl::Mutex mu_;
  std::shared_ptr<const Usage> newest_ ABSL_GUARDED_BY(mu_);
  absl::Duration measured_at_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
};

}  // namespace trainyard::coordinator

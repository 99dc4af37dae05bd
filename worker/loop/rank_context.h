// What every loop is given: which rank of which attempt this is, and the world around it.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <filesystem>
#include <functional>
#include <string>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/ids.h"
#include "common/job_spec/job_spec.h"
#include "worker/loop/rank_link.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

// Lets another thread free a rank that is blocked in its collective. Thread-safe.
class AbortSwitch {
 public:
  // From now on Fire aborts `collective` (at once if it was fired before); null: nothing any more.
  void Arm(Collective* collective) {
    absl::MutexLock lock(&mu_);
    collective_ = collective;
    if (fired_ && collective_ != nullptr) collective_->Abort();
  }
  void Fire() {
    absl::MutexLock lock(&mu_);
    fired_ = true;
    if (collective_ != nullptr) collective_->Abort();
  }
  // Calls that the armed collective has begun; 0 without one.
  int64_t sequence() const {
    absl::MutexLock lock(&mu_);
    return collective_ == nullptr ? 0 : collective_->sequence();
  }

 private:
  mutable absl::Mutex mu_;
  Collective* collective_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool fired_ ABSL_GUARDED_BY(mu_) = false;
};

// The pointers outlive the loop.
struct RankContext {
  JobSpec spec;  // resolved
  JobId job;
  AttemptNumber attempt = 1;
  int rank = 0;
  int ranks = 1;
  std::string bind_address = "127.0.0.1";  // where its peers reach this rank
  std::filesystem::path work_dir;          // scratch, this rank's own
  std::filesystem::path paces_file;        // what this host's measurements came to; empty: nowhere
  // Where the bytes of a file of the job's data lie on this machine.
  std::function<StatusOr<std::filesystem::path>(const BlobRef&)> dataset_path;
  absl::Duration connect_timeout = absl::Minutes(1);      // until all peers have come
  absl::Duration collective_timeout = absl::Minutes(10);  // of one call
  BlobStore* blobs = nullptr;
  RankLink* link = nullptr;
  AbortSwitch* abort = nullptr;
  const Clock* clock = nullptr;
};

}  // namespace trainyard::worker

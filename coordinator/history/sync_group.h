// Makes appended bytes durable in groups: many streams append, one thread calls fdatasync once per
// file for all of them, then tells everyone who waited.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "common/files.h"
#include "common/status.h"
#include "common/thread.h"

namespace trainyard::coordinator {

// Thread-safe. After a failed fdatasync nothing is acknowledged any more: which bytes reached the
// disk cannot be known, so the daemon must start again from what is there.
class SyncGroup {
 public:
  using File = std::shared_ptr<const UniqueFd>;
  // `on_failure` is called once, from the syncing thread.
  explicit SyncGroup(std::function<void(const Status&)> on_failure);
  ~SyncGroup();  // syncs what is open and answers everyone

  // `file` has bytes that are not durable yet. It is kept open until they are. Blocks for a sync
  // when 512 files wait for theirs.
  void Touch(File file);
  // Calls `done` once everything touched before this call is durable, or will never be. Called from
  // the syncing thread; must return quickly.
  void WhenSynced(std::function<void(const Status&)> done);

 private:
  static constexpr size_t kMaxTouched = 512;

  void Run();
  static Status SyncAll(const std::set<File>& files);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_ || !waiting_.empty(); }

  const std::function<void(const Status&)> on_failure_;
  absl::Mutex mu_;
  std::set<File> touched_ ABSL_GUARDED_BY(mu_);
  // At most one per stream: each waits for its answer before it asks again.
  std::vector<std::function<void(const Status&)>> waiting_ ABSL_GUARDED_BY(mu_);
  Status failure_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace trainyard::coordinator

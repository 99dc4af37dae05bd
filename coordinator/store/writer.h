// The thread that makes events durable: waits for work, commits, again. While one commit waits for
// the disk the next batch gathers (group commit).
#pragma once

#include <functional>

#include "common/status.h"
#include "common/thread.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

class StoreWriter {
 public:
  // `fatal` is called once, from the writer's thread, when a commit failed for good: what is in
  // memory is ahead of what is on disk, so the daemon must exit. A full disk is not fatal: it is
  // tried again every `retry_period`.
  StoreWriter(Store& store, std::function<void(const Status&)> fatal,
              absl::Duration retry_period = absl::Milliseconds(500));
  // Commits what is queued, then joins.
  ~StoreWriter();

 private:
  void Run();

  Store& store_;
  const std::function<void(const Status&)> fatal_;
  const absl::Duration retry_period_;
  StopSignal stop_;
  Thread thread_;
};

}  // namespace trainyard::coordinator

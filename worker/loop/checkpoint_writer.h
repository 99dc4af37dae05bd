// Writes rank 0's checkpoints: those during training beside the steps, from a copy; the last one of
// an attempt at once, from the engine itself. Always true:
//   * At most one is being written; the next one waits for it, and so does the last.
//   * What is written is the state of its own step, whatever the steps after it do.
//   * Whoever waits is in the phase `saving` and beats whenever bytes were written: a disk that
//     stands still is noticed as one that hangs a synchronous write.
// The copy is taken into memory of 12 bytes per parameter, allocated by Prepare, or by the first
// WriteBeside, and kept; where there is not so much, checkpoints are written at once.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/thread.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/checkpoint/snapshot.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

// Used by one thread, the loop's.
class CheckpointWriter {
 public:
  // The context outlives this object.
  explicit CheckpointWriter(const RankContext* context) : context_(*context) {}
  // Waits for the one being written.
  ~CheckpointWriter() { thread_.Join(); }

  // Begins, beside the steps, to take the memory for copies of `parameters`, if this rank is to
  // write any before the last step.
  void Prepare(std::vector<ParameterView> parameters);
  // Waits for the one being written, copies `contents` and returns; a thread of low priority writes
  // the copy and tells how that went. An error only where it had to write at once.
  Status WriteBeside(CheckpointContents contents);
  // Waits for the one being written, then writes. Errors as SaveCheckpoint (checkpoints.h).
  Status WriteNow(const CheckpointContents& contents);
  // Until nothing is being written. `step`: steps done, for beats. Told to stop now, what is being
  // written is given up.
  void Wait(int64_t step);
  // Of the newest checkpoint that is written; -1: none.
  int64_t newest_step() const;

 private:
  Status Save(const CheckpointContents& contents);
  // A rank tells of its newest checkpoint alone: gives the one before a moment to be recorded, lest
  // it be forgotten. Not for long: there may be no coordinator for a while.
  void AwaitRecorded();
  void Beat();
  // Says how long training stood still for this checkpoint.
  void TellStop(int64_t step, absl::Duration begin);

  const RankContext& context_;
  Snapshot snapshot_;                       // the thread's while it runs
  std::atomic<int64_t> waiting_step_ = -1;  // -1: the loop is not waiting

  mutable absl::Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  int64_t newest_step_ ABSL_GUARDED_BY(mu_) = -1;
  Thread thread_;
};

}  // namespace trainyard::worker

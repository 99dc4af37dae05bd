// Sums gradients over ranks while backward is still at work below them.
//
// Backward finishes the flat gradient buffer range by range, in one order that every rank knows.
// Where sums wait for a network, each finished range is handed to a thread that sums it, range by
// range, while the rest of backward goes on; elsewhere (one host: the cores that would sum are
// those that compute) the whole buffer is summed at once when the step ends. Either way each
// element is summed in rank order, so the bits are the same, and every rank makes the same calls.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/model/layout.h"
#include "common/thread.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

class GradientSums {
 public:
  // `order`: ranges that together are all of `gradients`, each just below the one before it.
  // Neighbours are summed in one call until they have a megabyte: a call costs a round trip.
  GradientSums(std::span<float> gradients, const std::vector<LayoutRange>& order);
  // Aborts the collective of a step that was not ended: its peers would wait for this rank.
  ~GradientSums();
  GradientSums(const GradientSums&) = delete;
  GradientSums& operator=(const GradientSums&) = delete;

  // From now on finished ranges may be summed: what backward adds next is the step's last. Nobody
  // else may use the collective until Finish. It outlives this object, or the step's Finish.
  void Begin(Collective* collective, absl::Duration timeout);
  // `finished` ranges, from the first in order, will not be added to any more.
  void Finished(size_t finished);
  // Sums what is left, waits for all, and ends the step, which need not have been begun. Errors are
  // the collective's. `timeout` is that of one call.
  Status Finish(Collective* collective, absl::Duration timeout);
  // How long the last Finish took.
  absl::Duration waited() const { return waited_; }

 private:
  struct Call {
    std::span<float> values;
    size_t ranges = 0;  // so many must be finished, from the first in order
  };
  struct Step {
    Collective* collective = nullptr;
    absl::Duration timeout;
    size_t finished = 0;  // ranges
    size_t done = 0;      // calls
    Status status = {};
  };

  // The thread's whole life.
  void SumFinished();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsOver() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const SystemClock clock_;
  const std::span<float> all_;
  const size_t ranges_;
  std::vector<Call> calls_;
  absl::Duration waited_;

  absl::Mutex mu_;
  std::optional<Step> step_ ABSL_GUARDED_BY(mu_);  // being summed by the thread
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Thread> thread_;  // from the first step that needs it
};

}  // namespace trainyard::worker

// Deletes files that nobody needs any more, once it is durable that nobody does; at the start and
// every hour also what killed writers left in the BlobStore and uploads that nobody went on with.
#pragma once

#include <absl/time/time.h>

#include <vector>

#include "common/blob_store.h"
#include "common/clock.h"
#include "coordinator/coordinator.h"
#include "coordinator/history/history.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

class Sweeper {
 public:
  // All of them outlive this object.
  Sweeper(Coordinator& coordinator, Store& store, BlobStore& blobs, History& history,
          const Clock& clock)
      : coordinator_(coordinator), store_(store), blobs_(blobs), history_(history), clock_(clock) {}

  // A little of what there is to do. Call often, from one thread. What fails is logged.
  void Sweep();

 private:
  void SweepUploads();
  Status Delete(const Garbage& garbage);

  Coordinator& coordinator_;
  Store& store_;
  BlobStore& blobs_;
  History& history_;
  const Clock& clock_;
  absl::Duration sweep_uploads_at_ = -absl::InfiniteDuration();
  Answer<std::vector<Garbage>> taken_;
};

}  // namespace trainyard::coordinator

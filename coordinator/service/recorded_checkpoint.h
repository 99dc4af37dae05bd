// Checkpoints as clients name them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/blob_store.h"
#include "common/checkpoint_manifest.h"
#include "coordinator/coordinator.h"

namespace trainyard::coordinator {

struct RecordedCheckpoint {
  std::shared_ptr<const Job> job;
  Checkpoint checkpoint;
  int64_t durable_after = 0;
};

// Checkpoint `item`, a step or "latest", of the job that `job` refers to (an id, a unique prefix, a
// name). NotFound, reason CHECKPOINT_NOT_FOUND, when none is recorded there.
StatusOr<RecordedCheckpoint> FindRecorded(const Coordinator& coordinator, const std::string& job,
                                          std::string_view item);

// Keys of the job's recorded checkpoints whose folders are not there any more: somebody removed
// them by hand.
StatusOr<std::vector<std::string>> RemovedByHand(BlobStore& blobs, const Job& job);

// Its manifest, which must be the one that was recorded. DataLoss otherwise; reason
// CHECKPOINT_REMOVED_BY_HAND when its folder is not there at all.
StatusOr<CheckpointManifest> ManifestOf(BlobStore& blobs, const Checkpoint& checkpoint);

// SHA-256 of a blob; reads all of it.
StatusOr<std::string> DigestOfBlob(BlobStore& blobs, const std::string& key);

}  // namespace trainyard::coordinator

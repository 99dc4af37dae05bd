// Ranks that each hold all of the weights must hold the same bits.
#pragma once

#include "common/status.h"
#include "worker/engine/engine.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

// Replicas that differ by a bit are a bug or a broken machine: better to fail than to save. All
// ranks call this after the same step; null: there is one. Internal, naming the rank; a lost peer
// has the reason PEER_LOST.
Status CompareReplicas(Engine& engine, Collective* collective, absl::Duration timeout,
                       int64_t step);

}  // namespace trainyard::worker

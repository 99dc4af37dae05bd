// The ranks of an attempt find each other.
#pragma once

#include <memory>

#include "common/status.h"
#include "worker/loop/rank_context.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

// Listens, says where, waits until the coordinator knows where all the others listen, and connects.
// Null when the attempt has one rank. Peers that do not come are PEER_LOST.
StatusOr<std::unique_ptr<Collective>> JoinPeers(const RankContext& context);

}  // namespace trainyard::worker

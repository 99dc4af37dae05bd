// The ranks of an attempt find each other.
#pragma once

#include <memory>

#include "common/status.h"
#include "worker/loop/rank_context.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

// Listens, says where, waits until the coordinator knows where all the others listen, and connects.
// Null when the attempt has one rank. Peers that do not come are PEER_LOST; a stop that is wanted
// meanwhile, of whatever mode, ends the wait as STOPPED: there is nothing to save yet.
StatusOr<std::unique_ptr<Collective>> JoinPeers(const RankContext& context);

// What an error before the first step means. A stop reaches the ranks one after the other, and one
// that hears it before the first step leaves at once: PEER_LOST because of that is STOPPED as soon
// as this rank hears of the stop too, for which it waits two seconds. Other errors stay.
Status PeersLeft(const RankContext& context, const Status& error);

}  // namespace trainyard::worker

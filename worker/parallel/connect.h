// The one way a trainer gets its Collective:
//
//   ASSIGN_OR_RETURN(PeerListener listener, PeerListener::Open());   // its address goes to the
//   peers ASSIGN_OR_RETURN(auto collective, Connect(listener, addresses, rank, secret, timeout));
#pragma once

#include <absl/time/time.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/parallel/collective.h"
#include "worker/parallel/rendezvous.h"

namespace trainyard::worker {

// `addresses`: every rank's listener, in rank order; `rank`: this process's place in it; `secret`:
// the attempt's, at least 16 characters. The listener can be closed afterwards. The ranks must run
// on one host, as one user, and see the same /proc; at most 64. A peer that dies later is noticed
// at once by the end of its connection. `give_up` and errors are Meet's; Unimplemented when the
// ranks are on several hosts.
StatusOr<std::unique_ptr<Collective>> Connect(const PeerListener& listener,
                                              const std::vector<std::string>& addresses, int rank,
                                              const std::string& secret, absl::Duration timeout,
                                              const std::function<bool()>& give_up = {});

}  // namespace trainyard::worker

// The one way a trainer gets its Collective:
//
//   ASSIGN_OR_RETURN(PeerListener listener, PeerListener::Open());  // its address goes to the
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

// kBest: shared memory when every rank has opened it, else TCP. Both give the same bits.
enum class Transport { kBest, kTcp };

// `addresses`: every rank's listener, in rank order, at most 255; `rank`: this process's place in
// it; `secret`: the attempt's, at least 16 characters. The listener can be closed afterwards.
//
// Shared memory is for ranks (at most 64) of one host, user and /proc. The first rank says with its
// proof which host it is on (host_identity.h, not the text of an address) and where its memory is;
// a rank that finds itself on the same host opens it and checks its token; then every rank tells
// every other whether it has it. One that has not, or wants TCP, makes all take TCP.
// A peer that dies later is noticed at once by the end of its connection. `give_up` and errors are
// Meet's, and Aborted: a peer that was met is gone.
StatusOr<std::unique_ptr<Collective>> Connect(const PeerListener& listener,
                                              const std::vector<std::string>& addresses, int rank,
                                              const std::string& secret, absl::Duration timeout,
                                              const std::function<bool()>& give_up = {},
                                              Transport transport = Transport::kBest);

}  // namespace trainyard::worker

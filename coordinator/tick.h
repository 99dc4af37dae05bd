// What time alone brings about. Called under the coordinator's lock, every 200 ms or so; each step
// does nothing when nothing is due. An error means that the store took no events: the same is due
// with the next tick.
#pragma once

#include "common/status.h"
#include "coordinator/ledger.h"

namespace trainyard::coordinator {

// Workers that fell silent are unreachable, then lost with their ranks.
Status WatchWorkers(Ledger& ledger);
// Attempts whose verdict had to stand for a while, ranks without progress, states past their
// deadline.
Status WatchJobs(Ledger& ledger);
// Places waiting jobs if anything changed that the scheduler decides on.
Status RunSchedule(Ledger& ledger);

}  // namespace trainyard::coordinator

// Why a job waits, runs or died: one sentence, then the evidence. Called under the coordinator's
// lock; the caller adds the job's newest events, which it reads from the store without the lock.
#pragma once

#include "coordinator/ledger.h"

namespace trainyard::coordinator {

Explanation ExplainJob(const Ledger& ledger, const JobEntry& entry);

// "14:03:12 RankHung (attempt 1): rank 1 on worker-1 made no progress ..."
std::string DescribeEvent(const Event& event);

}  // namespace trainyard::coordinator

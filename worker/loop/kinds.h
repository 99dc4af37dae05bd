// The job kinds a trainer can run: one page each.
#pragma once

#include "common/link/messages.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

// Runs this rank of a job of any kind to its outcome. What libraries throw ends here: out of memory
// and anything else become failed outcomes. A kind that is not built is BAD_INPUT and named.
link::Outcome RunJob(const RankContext& context);

}  // namespace trainyard::worker

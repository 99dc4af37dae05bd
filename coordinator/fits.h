// Whether a job could ever run on the hosts that are here: by the memory its plan says it takes.
#pragma once

#include <vector>

#include "common/job_spec/job_spec.h"
#include "common/status.h"
#include "coordinator/state/cluster.h"

namespace trainyard::coordinator {

// FailedPrecondition, reason JOB_DOES_NOT_FIT, when no placement of the job's ranks on the slots of
// reachable workers leaves every host enough memory; says how much is wanted, how much there is and
// what would fit. OK wherever that is not certain: no worker is here or one does not tell its
// memory, there are fewer slots than ranks (more may come), another device, nothing to plan from.
// `spec` is resolved. Memory that others use now is not counted: it may be free by then.
Status CheckFits(const JobSpec& spec, const std::vector<Worker>& workers);

}  // namespace trainyard::coordinator

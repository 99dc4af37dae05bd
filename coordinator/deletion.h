// What may be deleted, and what stands against it.
//
// Nothing that another job uses goes with a job or a checkpoint. Datasets and prepared data are
// never touched here; the files of a checkpoint that a job goes on from were stored as datasets
// when it was created (coordinator/service/model_from.h), so one that has ended, and may be
// retried, needs the checkpoint no more. One that has not ended holds it all the same.
#pragma once

#include <optional>
#include <vector>

#include "common/status.h"
#include "coordinator/ledger.h"
#include "coordinator/state/job.h"

namespace trainyard::coordinator {

// The job that has not ended and goes on from a checkpoint of `job`, that of `step` or any; null
// without one.
const Job* UserOf(const std::vector<JobEntry*>& jobs, const Job& job, std::optional<int64_t> step);

// FailedPrecondition, saying what to do first: reason JOB_NOT_ENDED while the job has not ended or
// ranks of it may live, CHECKPOINT_IN_USE when `user` goes on from one of its checkpoints.
Status CheckMayDelete(const Job& job, const Job* user);

// FailedPrecondition: reason CHECKPOINT_NEEDED for the newest of a job that would go on from it (it
// has not ended, or it is FAILED and may be retried), CHECKPOINT_IN_USE when `user` goes on from
// it.
Status CheckMayDelete(const Job& job, const Checkpoint& checkpoint, const Job* user);

}  // namespace trainyard::coordinator

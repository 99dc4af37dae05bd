// A job that goes on from the checkpoint of another.
#pragma once

#include "common/job_spec/job_spec.h"
#include "coordinator/service/runtime.h"

namespace trainyard::coordinator {

// Where spec.model.from names a checkpoint (job:NAME@latest, job:NAME@400): names its job by id and
// its step by number, and fills in model.files with the files of its model. `store`: they become
// datasets of their own, by content, so that the job does not depend on how long the other keeps
// its checkpoints; every byte is compared with what was recorded, so this may take seconds. Errors
// carry the field model.from: NotFound when there is no such job or checkpoint, DataLoss when its
// files are not what was recorded.
Status ResolveModelFrom(const ServiceContext& context, bool store, JobSpec& spec);

}  // namespace trainyard::coordinator

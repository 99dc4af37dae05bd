// The part of a job that the engine's updates need: how they are made, and at which rate.
#pragma once

#include "common/job_spec/job_spec.h"
#include "worker/engine/engine.h"
#include "worker/optim/schedule.h"

namespace trainyard::worker {

// Everything but the learning rate of the moment and the collective's timeout. InvalidArgument if
// train.optim is none of the field table's.
StatusOr<UpdateOptions> UpdateOptionsOf(const TrainSpec& train);

// InvalidArgument if train.lr_scheduler_type is none of the field table's.
StatusOr<Schedule> ScheduleOf(const TrainSpec& train);

// Whether state that `saved` left can go on under `wanted`; both as in train.optim.
// InvalidArgument, with the field, if it cannot: the moments mean something else.
Status CheckOptimiserOf(const std::string& checkpoint, const std::string& saved,
                        const std::string& wanted);

}  // namespace trainyard::worker

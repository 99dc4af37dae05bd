// The weights of a model that is open already, read and converted on several threads.
#pragma once

#include <span>

#include "common/checkpoint_manifest.h"
#include "common/status.h"
#include "worker/checkpoint/model_source.h"
#include "worker/checkpoint/parameter_view.h"

namespace trainyard::worker {

// Fills every `master`, whose values are those of one thread to the bit. Errors as ReadWeights
// (checkpoint.h); of several the first tensor's.
Status ReadWeightsOf(const ModelSource& source, std::span<const ParameterView> parameters,
                     int threads, const ReadProgress& progress = {});

}  // namespace trainyard::worker

// How many places of a micro-batch learn.
#pragma once

#include <cstdint>
#include <optional>

#include "common/job_spec/job_spec.h"

namespace trainyard::plan {

// The most that do. All `places` of rows that are not masked; of masked ones those that chance
// chooses (worker/data/masking.h): the mean and six standard deviations, which one micro-batch in a
// billion exceeds where words have four tokens or fewer.
int64_t LearningPlacesMax(int64_t places, const std::optional<MaskingSpec>& masking);

// The share of the places that learn, on average.
double LearningShare(const std::optional<MaskingSpec>& masking);

}  // namespace trainyard::plan

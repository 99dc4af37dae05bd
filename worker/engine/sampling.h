// From the logits of one place to a token: a pure function.
#pragma once

#include <cstdint>
#include <span>

#include "common/status.h"
#include "worker/engine/engine.h"

namespace trainyard::worker {

struct Choice {
  int32_t token = 0;
  // Natural log of its probability under the full softmax at the sampling temperature (at 1 when
  // greedy), whatever top-k and top-p left out.
  float logprob = 0;
};

// Temperature, then top-k, then top-p (the fewest likeliest tokens whose mass reaches p), in the
// order of transformers. `uniform` in [0, 1) picks among what is left; ties go to the lower id.
Choice ChooseToken(std::span<const float> logit_V, const SampleOptions& options, double uniform);

// InvalidArgument naming the field that makes no sense.
Status CheckSampleOptions(const SampleOptions& options);

}  // namespace trainyard::worker

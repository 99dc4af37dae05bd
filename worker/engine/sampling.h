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

// The repetition penalty on what `context` holds (Keskar et al. 2019, arXiv:1909.05858: a positive
// logit is divided by it, a negative one multiplied), then temperature, top-k, top-p (the fewest
// likeliest tokens whose mass reaches p) and min-p, in the order of transformers. `uniform` in
// [0, 1) picks among what is left; ties go to the lower id.
Choice ChooseToken(std::span<const float> logit_V, const SampleOptions& options,
                   std::span<const int32_t> context, double uniform);

// InvalidArgument naming the field that makes no sense.
Status CheckSampleOptions(const SampleOptions& options);

}  // namespace trainyard::worker

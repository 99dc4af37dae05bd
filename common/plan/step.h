// The memory of a training step, by replaying what the engine takes and gives back, operation by
// operation and in its order (worker/engine/engine.cc, worker/model/block.cc, worker/ops). Change
// them together: tests/worker/engine/plan_test.cc compares the replay with what torch allocates.
#pragma once

#include <cstdint>
#include <optional>

#include "common/job_spec/job_spec.h"
#include "common/model/config.h"
#include "common/plan/learning.h"
#include "common/plan/meter.h"
#include "common/plan/recompute.h"

namespace trainyard::plan {

struct StepShape {
  ModelConfig model;
  bool bfloat16 = false;
  Recompute recompute = Recompute::kNone;
  int64_t rows = 1;    // of a micro-batch
  int64_t length = 0;  // tokens of a row
  int threads = 1;
  bool muon = false;
  std::optional<MaskingSpec> masking = {};  // objective masked: only masked places learn

  int64_t tokens() const { return rows * length; }
  int64_t learning() const { return LearningPlacesMax(tokens(), masking); }
  int64_t real() const { return bfloat16 ? 2 : 4; }  // bytes of a weight and of an activation
};

// Forward and backward of one micro-batch.
void ReplayForwardBackward(const StepShape& step, Meter& meter);
// An evaluation's micro-batch.
void ReplayForward(const StepShape& step, Meter& meter);
void ReplayUpdate(const StepShape& step, Meter& meter);

}  // namespace trainyard::plan

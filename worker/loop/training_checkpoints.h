// When the checkpoints of a training job are written: beside the steps, now, or for good. Rank 0
// writes; the other ranks only wait where all must.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/status.h"
#include "worker/loop/checkpoint_writer.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

class TrainingCheckpoints {
 public:
  // `contents`: of the training's present state. The context outlives this object.
  using Contents = std::function<StatusOr<CheckpointContents>()>;
  TrainingCheckpoints(const RankContext* context, Contents contents)
      : context_(*context), contents_(std::move(contents)), writer_(context) {}

  // As CheckpointWriter has it.
  void Prepare(std::vector<ParameterView> parameters) { writer_.Prepare(std::move(parameters)); }
  void Wait(int64_t step) { writer_.Wait(step); }
  // There is one of this step: training went on from it.
  void Resumed(int64_t step) { resumed_step_ = step; }

  // Begins to write one, beside the steps that follow.
  Status WriteBeside();
  // Writes one of `step`, which is the present one, unless it is there already.
  Status WriteNow(int64_t step);
  // The same until it is written and recorded, on whichever rank.
  Status WriteForGood(int64_t step);

 private:
  const RankContext& context_;
  const Contents contents_;
  int64_t resumed_step_ = -1;
  CheckpointWriter writer_;
};

}  // namespace trainyard::worker

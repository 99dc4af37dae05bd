#include "worker/loop/training_checkpoints.h"

#include <utility>

#include "worker/loop/checkpoints.h"

namespace trainyard::worker {

Status TrainingCheckpoints::WriteBeside() {
  if (context_.rank != 0) return OkStatus();
  ASSIGN_OR_RETURN(CheckpointContents contents, contents_());
  return writer_.WriteBeside(std::move(contents));
}

Status TrainingCheckpoints::WriteNow(int64_t step) {
  if (context_.rank != 0 || resumed_step_ == step || writer_.newest_step() == step) {
    return OkStatus();
  }
  ASSIGN_OR_RETURN(const CheckpointContents contents, contents_());
  return writer_.WriteNow(contents);
}

Status TrainingCheckpoints::WriteForGood(int64_t step) {
  if (context_.rank != 0) return SaveForGood(context_, step, nullptr);
  return SaveForGood(context_, step, [&] { return WriteNow(step); });
}

}  // namespace trainyard::worker

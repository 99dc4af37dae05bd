// A job's checkpoints in the BlobStore: checkpoints/<job>/step-<step>-a<attempt>/. Written by rank
// 0, read by every rank. One counts only once the coordinator has recorded it.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/status.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/engine/engine.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

// "checkpoints/shakespeare-x7k2q/step-00000400-a3".
std::string CheckpointKey(const RankContext& context, int64_t step);

// Writes `contents`, and tells the link and the log how it went. After an error nothing is left of
// it; a full disk has the reason DISK_FULL. Told to stop now, it stops between two pieces, with the
// reason STOPPED. `piece_written` may be empty.
Status SaveCheckpoint(const RankContext& context, const CheckpointContents& contents,
                      const std::function<void()>& piece_written);

// Writes small files, by name, as a job's result in the place of a checkpoint; the rest as
// SaveCheckpoint.
Status SaveFiles(const RankContext& context, int64_t step,
                 const std::map<std::string, std::string>& files);

// Verifies every byte of the checkpoint, then fills the engine. Damage of any kind has the reason
// CHECKPOINT_DAMAGED and names the file. InvalidArgument when it is of other data or of another
// tokenizer than `expected` has.
StatusOr<TrainingState> LoadCheckpoint(const RankContext& context, const link::ResumePoint& from,
                                       std::string_view engine_name, Engine& engine,
                                       const TrainingState& expected);

// "fp32" or "bf16", in which the checkpoint was trained; empty when it does not say (older ones),
// or cannot be read. Not verified: LoadCheckpoint is to follow.
std::string PrecisionOfCheckpoint(const RankContext& context, const link::ResumePoint& from);

// Saves by `save` until it works (about two minutes of growing pauses; then its last error), where
// the job cannot go on without. Null: another rank does. Then waits until the coordinator has
// recorded the checkpoint of `step`.
Status SaveForGood(const RankContext& context, int64_t step, const std::function<Status()>& save);

}  // namespace trainyard::worker

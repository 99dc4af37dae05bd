// Jobs of kind evaluate: how well a model predicts the texts of data.validation.
#pragma once

#include "common/link/messages.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

// Runs this rank to the job's outcome. Its result is a folder where checkpoints are, of step 1:
// report.json, and report.txt for people (evaluation_report.h).
link::Outcome EvaluateModel(const RankContext& context);

}  // namespace trainyard::worker

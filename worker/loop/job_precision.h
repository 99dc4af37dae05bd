// What "train.precision: auto" comes to: rank 0 measures once, and all ranks and attempts of the
// job go by what the coordinator recorded.
#pragma once

#include <vector>

#include "common/choice.h"
#include "common/status.h"
#include "worker/loop/rank_context.h"
#include "worker/loop/starting_model.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// Rank 0's, before it reports the prepared data. What is recorded of an earlier attempt stands;
// then what the checkpoint that is resumed was trained in; else both number formats are measured
// (common/plan/kept_paces.h), and without a measurement the processor's flags decide. Empty where
// there is nothing to choose: a precision is named, or the device is a GPU. Errors: told to stop.
StatusOr<std::vector<Choice>> ChooseForJob(const RankContext& context, const StartingModel& model,
                                           const Tokenizer& tokenizer);

}  // namespace trainyard::worker

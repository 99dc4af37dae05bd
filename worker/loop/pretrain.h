// Pretraining: predict the next token of the job's documents.
#pragma once

#include "common/link/messages.h"
#include "worker/loop/rank_context.h"

namespace trainyard::worker {

// One rank of an attempt of a pretraining job, from preparing the data to the outcome. Every
// `train` rank runs the same program: who takes which rows follows from the data's order, and when
// to stop is agreed in each step's reduction.
//
// For one binary, instruction set, thread count and number of ranks two runs are bit-identical, and
// one that was killed and resumed from any checkpoint equals one that was not.
link::Outcome Pretrain(const RankContext& context);

}  // namespace trainyard::worker

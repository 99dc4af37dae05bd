// How much work a job is: tokens and operations, and the time at a given rate.
#pragma once

#include <cstdint>

#include "common/plan/memory.h"
#include "common/plan/recompute.h"

namespace trainyard::plan {

struct Arithmetic {
  int64_t parameters = 0;
  int64_t rows_per_rank = 0;
  int64_t micro_batches = 0;  // of a rank's step: its gradients add up over them
  int64_t tokens_per_micro_batch = 0;
  int64_t tokens_per_step = 0;  // all ranks
  int64_t steps = 0;
  int64_t tokens = 0;  // of the whole job
  // Forward and backward: 6 for each parameter that multiplies a token (of the head, for each token
  // that learns), and 6 layers x attention width x tokens of a row for causal attention, twice that
  // where tokens see both ways. With recompute what is done twice counts twice.
  double operations_per_token = 0;
};
Arithmetic ArithmeticOf(const RankShape& shape);

// Of a token in rows of `length`, `learning` of whose places learn.
double OperationsPerToken(const ModelConfig& model, int64_t length, double learning,
                          Recompute recompute);

// At `operations_per_second` of each rank, were the ranks to cost each other nothing.
double TokensPerSecond(const Arithmetic& arithmetic, int ranks, double operations_per_second);

}  // namespace trainyard::plan

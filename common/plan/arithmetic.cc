#include "common/plan/arithmetic.h"

namespace trainyard::plan {

Arithmetic ArithmeticOf(const RankShape& shape) {
  const StepShape& step = shape.step;
  const ModelShape& model = step.model;
  Arithmetic a;
  a.parameters = model.parameter_count();
  a.rows_per_rank = shape.rows_per_rank;
  a.micro_batches = shape.rows_per_rank / step.rows;
  a.tokens_per_micro_batch = step.tokens();
  a.tokens_per_step = shape.ranks * shape.rows_per_rank * step.length;
  a.steps = shape.steps;
  a.tokens = a.steps * a.tokens_per_step;
  const auto multiplying = static_cast<double>(model.multiplying_parameters());
  const auto attention = static_cast<double>(model.layers * model.attention_width() * step.length);
  const auto head = static_cast<double>(model.vocab_size * model.hidden_size);
  a.operations_per_token = 6 * multiplying + 6 * attention;
  if (step.recompute == Recompute::kBlock) {
    a.operations_per_token += 2 * (multiplying - head) + 2 * attention;
  }
  return a;
}

double TokensPerSecond(const Arithmetic& arithmetic, int ranks, double operations_per_second) {
  return ranks * operations_per_second / arithmetic.operations_per_token;
}

}  // namespace trainyard::plan

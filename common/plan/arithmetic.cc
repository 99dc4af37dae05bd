#include "common/plan/arithmetic.h"

#include "common/model/layout.h"

namespace trainyard::plan {
namespace {

// The parameters that multiply each token: all but embeddings that are only looked up.
int64_t MultiplyingParameters(const ModelConfig& model) {
  const NameMap& names = NamesOf(model);
  int64_t count = 0;
  for (const ParameterSpec& spec : ParameterLayout(model)) {
    const bool looked_up = (spec.name == names.token_embedding && !model.tie_embeddings) ||
                           spec.name == names.position_embedding ||
                           spec.name == names.type_embedding;
    if (!looked_up) count += spec.count;
  }
  return count;
}

// Of them, the matrices that only places that learn meet.
int64_t HeadParameters(const ModelConfig& model) {
  const int64_t width = model.hidden_size;
  return model.vocab_size * width + (model.family().head == HeadKind::kMasked ? width * width : 0);
}

}  // namespace

Arithmetic ArithmeticOf(const RankShape& shape) {
  const StepShape& step = shape.step;
  const ModelConfig& model = step.model;
  Arithmetic a;
  a.parameters = model.parameter_count();
  a.rows_per_rank = shape.rows_per_rank;
  a.micro_batches = shape.rows_per_rank / step.rows;
  a.tokens_per_micro_batch = step.tokens();
  a.tokens_per_step = shape.ranks * shape.rows_per_rank * step.length;
  a.steps = shape.steps;
  a.tokens = a.steps * a.tokens_per_step;
  a.operations_per_token =
      OperationsPerToken(model, step.length, LearningShare(step.masking), step.recompute);
  return a;
}

double OperationsPerToken(const ModelConfig& model, int64_t length, double learning,
                          Recompute recompute) {
  const auto multiplying = static_cast<double>(MultiplyingParameters(model));
  const double head = static_cast<double>(HeadParameters(model));
  const auto attention = static_cast<double>(model.layers * model.query_width() * length) *
                         (model.is_causal() ? 1 : 2);
  double operations = 6 * (multiplying - head + learning * head) + 6 * attention;
  if (recompute == Recompute::kBlock) operations += 2 * (multiplying - head) + 2 * attention;
  return operations;
}

double TokensPerSecond(const Arithmetic& arithmetic, int ranks, double operations_per_second) {
  return ranks * operations_per_second / arithmetic.operations_per_token;
}

}  // namespace trainyard::plan

#include "worker/loop/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

namespace trainyard::worker {

void EvaluationSums::Add(const EvaluationBatch& batch, const TokenOutputs& outputs) {
  const auto& logprob_N = outputs.logprob_N;
  nats -= std::accumulate(logprob_N.begin(), logprob_N.end(), 0.0);
  const auto& match_N = outputs.argmax_match_N;
  matches += static_cast<double>(std::count(match_N.begin(), match_N.end(), uint8_t{1}));
  targets += static_cast<double>(logprob_N.size());
  source_bytes += batch.source_bytes;
}

StatusOr<Evaluation> EvaluationSums::Finish() const {
  if (targets == 0) {
    return WithField(InvalidArgument("data.validation: there is no token to predict in it"),
                     "data.validation");
  }
  Evaluation evaluation;
  evaluation.targets = static_cast<int64_t>(targets);
  evaluation.loss = nats / targets;
  evaluation.perplexity = std::exp(evaluation.loss);
  evaluation.bits_per_byte = source_bytes > 0 ? nats / std::numbers::ln2 / source_bytes : 0;
  evaluation.token_accuracy = matches / targets;
  return evaluation;
}

StatusOr<Evaluation> Evaluate(Engine& engine, const EvaluationRows& rows, int64_t micro_batch_rows,
                              Collective* collective, absl::Duration timeout,
                              const std::function<Status()>& beat) {
  const int rank = collective == nullptr ? 0 : collective->rank();
  const int ranks = collective == nullptr ? 1 : collective->size();
  ASSIGN_OR_RETURN(const std::vector<EvaluationBatch> batches,
                   rows.MicroBatches(rank, ranks, micro_batch_rows));
  EvaluationSums sums;
  for (const EvaluationBatch& batch : batches) {
    ASSIGN_OR_RETURN(const TokenOutputs outputs, engine.Forward(batch.batch));
    sums.Add(batch, outputs);
    RETURN_IF_ERROR(beat());
  }
  if (collective != nullptr) {
    std::array<double, 4> all = {sums.nats, sums.matches, sums.targets, sums.source_bytes};
    RETURN_IF_ERROR(collective->AllReduceSum(std::span<double>(all), timeout));
    sums = {.nats = all[0], .matches = all[1], .targets = all[2], .source_bytes = all[3]};
  }
  return sums.Finish();
}

}  // namespace trainyard::worker

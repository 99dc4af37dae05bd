#include "worker/loop/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

namespace trainyard::worker {
namespace {

int RankOf(const EvaluateOptions& options) {
  return options.collective == nullptr ? 0 : options.collective->rank();
}
int RanksOf(const EvaluateOptions& options) {
  return options.collective == nullptr ? 1 : options.collective->size();
}

// Over all ranks.
StatusOr<EvaluationSums> SumOf(Engine& engine, const std::vector<EvaluationBatch>& batches,
                               const EvaluateOptions& options) {
  EvaluationSums sums;
  for (const EvaluationBatch& batch : batches) {
    if (batch.batch.targets() == 0) continue;  // masked rows without an ordinary token
    ASSIGN_OR_RETURN(const TokenOutputs outputs, engine.Forward(batch.batch));
    sums.Add(batch, outputs);
    if (options.beat) RETURN_IF_ERROR(options.beat());
  }
  if (options.collective == nullptr) return sums;
  std::array<double, 4> all = {sums.nats, sums.matches, sums.targets, sums.source_bytes};
  RETURN_IF_ERROR(options.collective->AllReduceSum(std::span<double>(all), options.timeout));
  return EvaluationSums{
      .nats = all[0], .matches = all[1], .targets = all[2], .source_bytes = all[3]};
}

}  // namespace

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

StatusOr<Evaluation> Evaluate(Engine& engine, const EvaluationRows& rows,
                              const EvaluateOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<EvaluationBatch> batches,
                   rows.MicroBatches(RankOf(options), RanksOf(options), options.micro_batch_rows));
  ASSIGN_OR_RETURN(const EvaluationSums sums, SumOf(engine, batches, options));
  return sums.Finish();
}

StatusOr<MaskedEvaluation> EvaluateMasked(Engine& engine, const EvaluationRows& rows,
                                          bool one_by_one, const EvaluateOptions& options) {
  ASSIGN_OR_RETURN(const Evaluation masked, Evaluate(engine, rows, options));
  MaskedEvaluation evaluation{.targets = masked.targets,
                              .loss = masked.loss,
                              .accuracy = masked.token_accuracy,
                              .commonest_accuracy = rows.commonest_target_share()};
  if (!one_by_one) return evaluation;
  ASSIGN_OR_RETURN(const std::vector<EvaluationBatch> batches,
                   rows.SinglePlaces(RankOf(options), RanksOf(options), options.micro_batch_rows));
  ASSIGN_OR_RETURN(const EvaluationSums sums, SumOf(engine, batches, options));
  ASSIGN_OR_RETURN(const Evaluation single, sums.Finish());
  evaluation.single_places = single.targets;
  evaluation.pseudo_perplexity = single.perplexity;
  return evaluation;
}

EvaluationReport ReportOf(const Evaluation& evaluation) {
  return {.metrics = {{"eval_loss", evaluation.loss},
                      {"eval_perplexity", evaluation.perplexity},
                      {"eval_bits_per_byte", evaluation.bits_per_byte},
                      {"eval_mean_token_accuracy", evaluation.token_accuracy}},
          .line = fmt::format("eval_loss={:.6f} eval_perplexity={:.3f} eval_bits_per_byte={:.4f}",
                              evaluation.loss, evaluation.perplexity, evaluation.bits_per_byte),
          .conclusion = ""};
}

EvaluationReport ReportOf(const MaskedEvaluation& evaluation) {
  EvaluationReport report{
      .metrics = {{"eval_loss", evaluation.loss},
                  {"eval_masked_accuracy", evaluation.accuracy},
                  {"eval_commonest_token_accuracy", evaluation.commonest_accuracy}},
      .line = fmt::format("eval_loss={:.6f} eval_masked_accuracy={:.4f} masked_places={}",
                          evaluation.loss, evaluation.accuracy, evaluation.targets),
      .conclusion = fmt::format(
          "masked accuracy {:.1f} % of {} places; always guessing their commonest token would give "
          "{:.1f} %",
          100 * evaluation.accuracy, evaluation.targets, 100 * evaluation.commonest_accuracy)};
  if (evaluation.single_places == 0) return report;
  report.metrics.emplace_back("eval_pseudo_perplexity", evaluation.pseudo_perplexity);
  report.line += fmt::format(" eval_pseudo_perplexity={:.3f} places={}",
                             evaluation.pseudo_perplexity, evaluation.single_places);
  report.conclusion += fmt::format("; pseudo-perplexity {:.2f} over {} places masked one at a time",
                                   evaluation.pseudo_perplexity, evaluation.single_places);
  return report;
}

StatusOr<EvaluationReport> EvaluateAndReport(Engine& engine, const EvaluationRows& rows, bool last,
                                             const EvaluateOptions& options) {
  if (rows.masked()) {
    ASSIGN_OR_RETURN(const MaskedEvaluation masked, EvaluateMasked(engine, rows, last, options));
    return ReportOf(masked);
  }
  ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(engine, rows, options));
  return ReportOf(evaluation);
}

}  // namespace trainyard::worker

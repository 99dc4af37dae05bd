// How well the model predicts text it is not trained on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "worker/data/evaluation_rows.h"
#include "worker/engine/engine.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

struct Evaluation {
  int64_t targets = 0;        // tokens predicted
  double loss = 0;            // nats per token
  double perplexity = 0;      // e^loss
  double bits_per_byte = 0;   // of the text the tokens stand for
  double token_accuracy = 0;  // share of tokens that were the likeliest
};

// Of masked rows.
struct MaskedEvaluation {
  int64_t targets = 0;  // masked places
  double loss = 0;      // nats per masked place
  double accuracy = 0;  // share of places whose token was the likeliest
  // What always guessing one token could reach at best: the commonest at these very places.
  double commonest_accuracy = 0;
  // e^(nats per place) of places that are masked alone (EvaluationRows::SinglePlaces); 0 places:
  // not computed.
  int64_t single_places = 0;
  double pseudo_perplexity = 0;
};

// What one rank adds up over its part of the rows. All are sums, so ranks can be summed too.
struct EvaluationSums {
  double nats = 0;
  double matches = 0;
  double targets = 0;
  double source_bytes = 0;  // of the text that the targets stand for

  void Add(const EvaluationBatch& batch, const TokenOutputs& outputs);
  // InvalidArgument when nothing was predicted.
  StatusOr<Evaluation> Finish() const;
};

// How an evaluation is done.
struct EvaluateOptions {
  int64_t micro_batch_rows = 1;
  Collective* collective = nullptr;  // the rows are split over its ranks; null: one rank
  absl::Duration timeout;            // of one call of it
  // Called after every micro-batch; ends the evaluation when it fails.
  std::function<Status()> beat;
};

// The engine's losses over the rows; every rank gets the same result.
StatusOr<Evaluation> Evaluate(Engine& engine, const EvaluationRows& rows,
                              const EvaluateOptions& options);
// The same for masked rows. `one_by_one`: also the pseudo-perplexity, for as many forward passes
// again.
StatusOr<MaskedEvaluation> EvaluateMasked(Engine& engine, const EvaluationRows& rows,
                                          bool one_by_one, const EvaluateOptions& options);

// What is said about an evaluation.
struct EvaluationReport {
  std::vector<std::pair<std::string, double>> metrics;
  std::string line;        // of the log, after "step=N "
  std::string conclusion;  // for the job's end; may be empty
};
EvaluationReport ReportOf(const Evaluation& evaluation);
EvaluationReport ReportOf(const MaskedEvaluation& evaluation);

// Whichever the rows ask for. `last`: of the job, so that what takes long is done too.
StatusOr<EvaluationReport> EvaluateAndReport(Engine& engine, const EvaluationRows& rows, bool last,
                                             const EvaluateOptions& options);

}  // namespace trainyard::worker

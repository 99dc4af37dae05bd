// How well the model predicts text it is not trained on.
#pragma once

#include <cstdint>
#include <functional>

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

// The engine's losses over the rows, which are split over the collective's ranks (null: one rank);
// every rank gets the same result. `beat` is called after every micro-batch, and ends the
// evaluation when it fails.
StatusOr<Evaluation> Evaluate(Engine& engine, const EvaluationRows& rows, int64_t micro_batch_rows,
                              Collective* collective, absl::Duration timeout,
                              const std::function<Status()>& beat);

}  // namespace trainyard::worker

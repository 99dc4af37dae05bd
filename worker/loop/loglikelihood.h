// What a model says of scored texts (worker/data/scoring.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/status.h"
#include "worker/data/scoring.h"
#include "worker/engine/engine.h"

namespace trainyard::worker {

struct LogLikelihood {
  double nats = 0;        // sum of log p over the continuation
  bool is_greedy = true;  // every token of it was the likeliest
  int64_t tokens = 0;     // of it
};

struct ScoreOptions {
  int64_t max_length = 1024;  // tokens read at once of one text
  // Texts go through the model together up to so many tokens; a longer one goes alone.
  int64_t batch_tokens_max = 4096;
  // Called after every batch; ends the scoring when it fails. May be empty.
  std::function<Status()> beat = {};
};

// One for each text, in order.
StatusOr<std::vector<LogLikelihood>> Score(Engine& engine, std::span<const ScoredText> texts,
                                           const ScoreOptions& options);

}  // namespace trainyard::worker

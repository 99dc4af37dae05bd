#include "worker/loop/loglikelihood.h"

#include <algorithm>
#include <utility>

namespace trainyard::worker {
namespace {

// Runs the batch, and adds what it says of its texts.
Status Flush(Engine& engine, Batch& batch, std::vector<size_t>& sizes,
             std::vector<LogLikelihood>& all) {
  const Batch full = std::exchange(batch, Batch());
  ASSIGN_OR_RETURN(const TokenOutputs outputs, engine.Forward(full));
  size_t at = 0;
  for (const size_t size : std::exchange(sizes, {})) {
    LogLikelihood one{.tokens = static_cast<int64_t>(size)};
    for (const size_t end = at + size; at < end; ++at) {
      one.nats += outputs.logprob_N[at];
      one.is_greedy = one.is_greedy && outputs.argmax_match_N[at] != 0;
    }
    all.push_back(one);
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::vector<LogLikelihood>> Score(Engine& engine, std::span<const ScoredText> texts,
                                           const ScoreOptions& options) {
  std::vector<LogLikelihood> all;
  all.reserve(texts.size());
  Batch batch;
  std::vector<size_t> sizes;  // tokens scored of each text in it
  const auto flush = [&]() -> Status {
    if (sizes.empty()) return OkStatus();
    RETURN_IF_ERROR(Flush(engine, batch, sizes, all));
    return options.beat ? options.beat() : OkStatus();
  };
  for (const ScoredText& text : texts) {
    const auto read = static_cast<int64_t>(text.context.size() + text.continuation.size()) - 1;
    if (batch.tokens() + std::min(read, options.max_length) > options.batch_tokens_max)
      RETURN_IF_ERROR(flush());
    RETURN_IF_ERROR(AppendScored(text, options.max_length, batch));
    sizes.push_back(text.continuation.size());
  }
  RETURN_IF_ERROR(flush());
  return all;
}

}  // namespace trainyard::worker

#include "worker/loop/loglikelihood.h"

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
  for (const ScoredText& text : texts) {
    RETURN_IF_ERROR(AppendScored(text, options.max_length, batch));
    sizes.push_back(text.continuation.size());
    const bool last = &text == &texts.back();
    // The next one may be as long as any.
    if (!last && batch.tokens() + options.max_length <= options.batch_tokens_max) continue;
    RETURN_IF_ERROR(Flush(engine, batch, sizes, all));
    if (options.beat) RETURN_IF_ERROR(options.beat());
  }
  return all;
}

}  // namespace trainyard::worker

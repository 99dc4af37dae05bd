// How likely a model finds a text: what EleutherAI's lm-evaluation-harness scores, token by token.
// Its rules (lm_eval/api/model.py TemplateLM, lm_eval/models/huggingface.py, lm_eval/utils.py at
// v0.4), so that numbers can be compared: no special tokens are added, special tokens spelled out
// in a text are parsed, white space is Python's.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

// The continuation is scored, each token given all before it. Neither is empty.
struct ScoredText {
  std::vector<int32_t> context;
  std::vector<int32_t> continuation;
};

// White space at the context's end belongs to the continuation; the two are encoded together, and
// the continuation is what follows as many tokens as the context has by itself. An empty context is
// `prefix_token` alone. InvalidArgument when no token is left to score.
StatusOr<ScoredText> EncodePair(const Tokenizer& tokenizer, std::string_view context,
                                std::string_view continuation, int32_t prefix_token);

// Every token of a text scored once, in windows of at most `max_length` tokens read. The first
// begins with `prefix_token`; each later one reads one token that is scored already, and the last
// as many more as fit.
std::vector<ScoredText> RollingWindows(std::span<const int32_t> tokens, int32_t prefix_token,
                                       int64_t max_length);

// Adds the text as an item whose targets are the continuation, cut from the left to `max_length`
// tokens read. InvalidArgument when the continuation alone is longer.
Status AppendScored(const ScoredText& text, int64_t max_length, Batch& batch);

// Pieces between white space, as Python's re.split(r"\s+", text) counts them: white space at either
// end parts an empty piece off. `text` is valid UTF-8.
int64_t WordsOf(std::string_view text);

}  // namespace trainyard::worker

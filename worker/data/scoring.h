// How likely a model finds a text: what EleutherAI's lm-evaluation-harness scores, token by token.
// Its rules (lm_eval/api/model.py TemplateLM, lm_eval/models/huggingface.py HFLM, lm_eval/utils.py
// at v0.4.13), so that numbers can be compared: a text is encoded with the special tokens that the
// tokenizer adds, so that a tokenizer which adds BOS has it behind the prefix token and scores it;
// special tokens spelled out in a text are parsed; white space is Python's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {

constexpr std::string_view kScoringName = "lm-evaluation-harness";
constexpr std::string_view kScoringVersion = "0.4.13";

struct ScoringRules {
  int32_t prefix_token = 0;  // what the first token of a text is scored behind
  // Whether the special tokens that the tokenizer adds are kept behind the prefix (the harness's
  // add_bos_token=None); false: a text's own tokens alone (add_bos_token=False).
  bool bos_twice = true;
  std::string prefix_text = {};  // as the tokenizer spells it
};

// HFLM's prefix token: the tokenizer's "bos_token", else its "eos_token", by the special tokens
// that its files name (TemplateVariables); never config.json's. InvalidArgument: there is neither.
StatusOr<ScoringRules> ScoringRulesOf(const Tokenizer& tokenizer, std::string_view token_names,
                                      bool bos_twice);

// HFLM.tok_encode: nothing is added to a text that spells the prefix token at its beginning.
StatusOr<std::vector<int32_t>> EncodeScored(const Tokenizer& tokenizer, std::string_view text,
                                            const ScoringRules& rules);

// The continuation is scored, each token given all before it. Neither is empty.
struct ScoredText {
  std::vector<int32_t> context;
  std::vector<int32_t> continuation;
};

// White space at the context's end belongs to the continuation; the two are encoded together, and
// the continuation is what follows as many tokens as the context has by itself. An empty context is
// the prefix token, whose repetition at the continuation's beginning is then not scored; so is one
// of white space alone where the tokenizer adds nothing to it (the harness ends there).
// InvalidArgument when no token is left to score.
StatusOr<ScoredText> EncodePair(const Tokenizer& tokenizer, std::string_view context,
                                std::string_view continuation, const ScoringRules& rules);

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

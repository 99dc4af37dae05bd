#include "worker/data/scoring.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int32_t kPrefix = 99;
const ScoringRules kRules{.prefix_token = kPrefix, .prefix_text = "<none>"};
using Ids = std::vector<int32_t>;

// The harness's own example (tests/test_utils.py of lm-evaluation-harness): windows as
// make_disjoint_window(get_rolling_token_windows(..., context_len=1)) gives them.
TEST(RollingWindows, ScoreEveryTokenOnce) {
  Ids tokens;
  for (int32_t i = 0; i < 34; ++i) tokens.push_back(i);
  const auto windows = RollingWindows(tokens, kPrefix, 10);
  ASSERT_EQ(windows.size(), 4u);
  EXPECT_THAT(windows[0].context, ElementsAre(kPrefix));
  EXPECT_THAT(windows[0].continuation, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(windows[1].context, ElementsAre(9));
  EXPECT_THAT(windows[1].continuation, ElementsAre(10, 11, 12, 13, 14, 15, 16, 17, 18, 19));
  EXPECT_THAT(windows[2].context, ElementsAre(19));
  // The last reads ten tokens too, so that its four see more.
  EXPECT_THAT(windows[3].context, ElementsAre(23, 24, 25, 26, 27, 28, 29));
  EXPECT_THAT(windows[3].continuation, ElementsAre(30, 31, 32, 33));
  Ids scored;
  for (const ScoredText& window : windows) {
    scored.insert(scored.end(), window.continuation.begin(), window.continuation.end());
    EXPECT_LE(window.context.size() + window.continuation.size() - 1, 10u);  // read
  }
  EXPECT_EQ(scored, tokens);
}

TEST(RollingWindows, OfShortTexts) {
  EXPECT_TRUE(RollingWindows({}, kPrefix, 10).empty());
  const auto one = RollingWindows(Ids{5}, kPrefix, 10);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_THAT(one[0].continuation, ElementsAre(5));
  EXPECT_EQ(RollingWindows(Ids{5, 6}, kPrefix, 2).size(), 1u);
  const auto tight = RollingWindows(Ids{5, 6, 7}, kPrefix, 1);
  ASSERT_EQ(tight.size(), 3u);
  EXPECT_THAT(tight[2].context, ElementsAre(6));
}

TEST(AppendScored, ReadsAllButTheLastAndScoresTheContinuation) {
  Batch batch;
  ASSERT_OK(AppendScored({{1, 2, 3}, {4, 5}}, 10, batch));
  EXPECT_THAT(batch.token_ids_T, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(batch.target_ids_T, ElementsAre(kNoTarget, kNoTarget, 4, 5));
  EXPECT_THAT(batch.position_ids_T, ElementsAre(0, 1, 2, 3));
  // Cut from the left: of 1 2 3 4 the last three.
  ASSERT_OK(AppendScored({{1, 2, 3}, {4, 5}}, 3, batch));
  ASSERT_OK(AppendScored({{1, 2, 3}, {4, 5}}, 2, batch));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 4, 7, 9));
  EXPECT_THAT(batch.token_ids_T, ElementsAre(1, 2, 3, 4, 2, 3, 4, 3, 4));
  EXPECT_THAT(batch.target_ids_T, ElementsAre(kNoTarget, kNoTarget, 4, 5, kNoTarget, 4, 5, 4, 5));
  EXPECT_THAT(batch.position_ids_T, ElementsAre(0, 1, 2, 3, 0, 1, 2, 0, 1));
  EXPECT_THAT(AppendScored({{1}, {4, 5, 6}}, 2, batch),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("3 tokens is longer than the 2")));
}

// A tokenizer of bytes and " the".
class EncodePairTest : public testing::Test {
 protected:
  static Tokenizer Train() {
    TokenizerTrainer trainer;
    const std::string text = "x the the the the";
    EXPECT_OK(trainer.Feed(std::vector<std::string_view>{text}));
    return *trainer.Finish({.vocab_size = 260, .special_tokens = {"<|endoftext|>"}});
  }
  Ids Encode(std::string_view text) const { return *tokenizer_.Encode(text); }
  const Tokenizer tokenizer_ = Train();
};

TEST_F(EncodePairTest, WhiteSpaceAtTheContextsEndIsTheContinuations) {
  ASSERT_EQ(Encode(" the").size(), 1u);
  ASSERT_OK_AND_ASSIGN(const ScoredText with, EncodePair(tokenizer_, "see ", "the", kRules));
  ASSERT_OK_AND_ASSIGN(const ScoredText without, EncodePair(tokenizer_, "see", " the", kRules));
  EXPECT_EQ(with.context, Encode("see"));
  EXPECT_EQ(with.continuation, Encode(" the"));
  EXPECT_EQ(without.context, with.context);
  EXPECT_EQ(without.continuation, with.continuation);
  // Python's white space: a no-break space, a line separator.
  ASSERT_OK_AND_ASSIGN(const ScoredText wide,
                       EncodePair(tokenizer_, "see\u00a0\u2028\t", "x", kRules));
  EXPECT_EQ(wide.context, Encode("see"));
}

TEST_F(EncodePairTest, AnEmptyContextIsThePrefixToken) {
  ASSERT_OK_AND_ASSIGN(const ScoredText text, EncodePair(tokenizer_, "", "x the", kRules));
  EXPECT_THAT(text.context, ElementsAre(kPrefix));
  EXPECT_EQ(text.continuation, Encode("x the"));
}

TEST_F(EncodePairTest, ATokenAcrossTheBoundaryGoesToTheOneThatHasItsPlace) {
  // " t" alone is two tokens, " the" one: what follows as many tokens as the context has is scored.
  ASSERT_EQ(Encode("x t").size(), 3u);
  ASSERT_EQ(Encode("x the z").size(), 4u);
  ASSERT_OK_AND_ASSIGN(const ScoredText text, EncodePair(tokenizer_, "x t", "he z", kRules));
  EXPECT_EQ(text.context, Encode("x t"));
  EXPECT_EQ(text.continuation, Encode("z"));
  EXPECT_THAT(EncodePair(tokenizer_, "x t", "he", kRules),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no token to score")));
  // A context of white space alone is empty once that has moved.
  ASSERT_OK_AND_ASSIGN(const ScoredText spaces, EncodePair(tokenizer_, " \n", "x", kRules));
  EXPECT_THAT(spaces.context, ElementsAre(kPrefix));
  EXPECT_EQ(spaces.continuation, Encode(" \nx"));
}

TEST_F(EncodePairTest, APrefixTokenThatTheContinuationBeginsWithIsNotScored) {
  const ScoringRules rules{.prefix_token = 0, .prefix_text = "<|endoftext|>"};
  ASSERT_OK_AND_ASSIGN(const ScoredText text,
                       EncodePair(tokenizer_, "", "<|endoftext|>x the", rules));
  EXPECT_THAT(text.context, ElementsAre(0));
  EXPECT_EQ(text.continuation, Encode("x the"));
}

TEST_F(EncodePairTest, ThePrefixIsTheTokenizersBosElseItsEos) {
  const auto prefix = [&](const char* names) -> StatusOr<int32_t> {
    ASSIGN_OR_RETURN(const ScoringRules rules, ScoringRulesOf(tokenizer_, names, true));
    return rules.prefix_token;
  };
  const int32_t x = *tokenizer_.TokenToId("x");
  EXPECT_EQ(*prefix(R"({"bos_token": "x", "eos_token": "<|endoftext|>"})"), x);
  EXPECT_EQ(*prefix(R"({"bos_token": null, "eos_token": "<|endoftext|>"})"), 0);
  EXPECT_EQ(*prefix(R"({"bos_token": "<nobody's>", "eos_token": "x"})"), x);
  EXPECT_THAT(prefix("{}"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("neither bos_token nor eos_token")));
}

// Each as len(re.split(r"\s+", text)) in Python.
TEST(WordsOf, CountsAsPythonSplits) {
  EXPECT_EQ(WordsOf(""), 1);
  EXPECT_EQ(WordsOf("one"), 1);
  EXPECT_EQ(WordsOf("one two\n\n three"), 3);
  EXPECT_EQ(WordsOf(" one two "), 4);
  EXPECT_EQ(WordsOf("one\u00a0two\u3000three\u200bfour"), 3);  // U+200B is no white space
}

}  // namespace
}  // namespace trainyard::worker

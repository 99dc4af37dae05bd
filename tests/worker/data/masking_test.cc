#include "worker/data/masking.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "common/plan/learning.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/data/masked_text.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kEntries = 1004;  // 1000 of them ordinary

Masking Make(const MaskingOptions& options = {}, uint64_t seed = 7) {
  return *Masking::Create(TestMaskingVocabulary(kEntries), options, seed);
}

// One item of these tokens.
Batch RowOf(std::vector<int32_t> tokens) {
  Batch batch;
  batch.token_ids_T = std::move(tokens);
  batch.position_ids_T.resize(batch.token_ids_T.size());
  std::iota(batch.position_ids_T.begin(), batch.position_ids_T.end(), 0);
  batch.cu_seqlens = {0, static_cast<int32_t>(batch.token_ids_T.size())};
  return batch;
}

// `n` ordinary tokens, the words of which have two each.
std::vector<int32_t> Words(size_t n) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i)
    tokens.push_back(kFirstOrdinary + static_cast<int32_t>(i % (kEntries - kFirstOrdinary)));
  return tokens;
}

Batch Masked(const Masking& masking, const MaskedRow& row, std::vector<int32_t> tokens) {
  Batch batch = RowOf(std::move(tokens));
  masking.Apply(row, 0, batch);
  return batch;
}

// Half the width of an interval that a count of `n` draws with probability `p` leaves once in
// 1.7 million runs: five standard deviations.
double FiveSigma(double n, double p) { return 5 * std::sqrt(n * p * (1 - p)); }

struct Shares {
  double ordinary = 0, chosen = 0, mask = 0, kept = 0, other = 0;
};
Shares SharesOf(const Masking& masking, int64_t rows, size_t length) {
  Shares shares;
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int32_t> tokens = Words(length);
    const Batch batch = Masked(masking, {.row = row}, tokens);
    shares.ordinary += static_cast<double>(length);
    for (size_t i = 0; i < length; ++i) {
      if (batch.target_ids_T[i] == kNoTarget) {
        EXPECT_EQ(batch.token_ids_T[i], tokens[i]);
        continue;
      }
      EXPECT_EQ(batch.target_ids_T[i], tokens[i]);
      ++shares.chosen;
      const int32_t shown = batch.token_ids_T[i];
      ++(shown == kTestMask ? shares.mask : shown == tokens[i] ? shares.kept : shares.other);
    }
  }
  return shares;
}

TEST(Masking, ChoosesAndShowsTheSharesOfThePaper) {
  for (const double p : {0.15, 0.4}) {
    const Shares got = SharesOf(Make({.probability = p}), /*rows=*/1000, /*length=*/128);
    EXPECT_EQ(got.ordinary, 128000);
    // 128,000 draws at 0.15: 19,200 with a standard deviation of 128.
    EXPECT_NEAR(got.chosen, p * got.ordinary, FiveSigma(got.ordinary, p));
    EXPECT_NEAR(got.mask, 0.8 * got.chosen, FiveSigma(got.chosen, 0.8));
    // One random token in 1000 is the one that was there.
    const double kept = 0.1 + 0.1 / 1000;
    EXPECT_NEAR(got.kept, kept * got.chosen, FiveSigma(got.chosen, kept));
    EXPECT_NEAR(got.other, (0.2 - kept) * got.chosen, FiveSigma(got.chosen, 0.1));
  }
}

TEST(Masking, ChoosesNoMorePlacesThanAPlanAllowsFor) {
  for (const bool whole_word : {false, true}) {
    const Masking masking = Make({.probability = 0.15, .whole_word = whole_word});
    int64_t most = 0;
    for (int64_t row = 0; row < 2000; ++row)
      most = std::max(most, Masked(masking, {.row = row}, Words(256)).targets());
    const int64_t bound =
        plan::LearningPlacesMax(256, MaskingSpec{.probability = 0.15, .whole_word = whole_word});
    EXPECT_LE(most, bound);
    EXPECT_GT(most, bound / 2);
  }
}

TEST(Masking, RandomTokensAreAnyOrdinaryOne) {
  const Masking masking = Make({.probability = 1});
  std::map<int32_t, int64_t> times;
  double random = 0;
  for (int64_t row = 0; row < 2000; ++row) {
    const Batch batch = Masked(masking, {.row = row}, std::vector<int32_t>(128, kFirstOrdinary));
    for (const int32_t token : batch.token_ids_T) {
      if (token == kTestMask || token == kFirstOrdinary) continue;
      ++times[token];
      ++random;
    }
  }
  // About 25,600 draws among 999 others: 25.6 each, so that none is missing, and at most 60.
  EXPECT_EQ(times.size(), 999u);
  EXPECT_GE(times.begin()->first, kFirstOrdinary);
  for (const auto& [token, count] : times)
    EXPECT_LE(static_cast<double>(count), random / 999 + 7 * std::sqrt(random / 999)) << token;
}

TEST(Masking, IsAFunctionOfSeedSourceEpochAndRow) {
  const MaskedRow row = {.source = 3, .epoch = 5, .row = 11};
  const auto targets = [&](uint64_t seed, const MaskedRow& at) {
    return Masked(Make({}, seed), at, Words(256)).target_ids_T;
  };
  const Batch first = Masked(Make(), row, Words(256)), second = Masked(Make(), row, Words(256));
  EXPECT_EQ(first.token_ids_T, second.token_ids_T);
  EXPECT_EQ(first.target_ids_T, second.target_ids_T);
  EXPECT_NE(targets(7, row), targets(8, row));
  EXPECT_NE(targets(7, row), targets(7, {.source = 4, .epoch = 5, .row = 11}));
  EXPECT_NE(targets(7, row), targets(7, {.source = 3, .epoch = 6, .row = 11}));
  EXPECT_NE(targets(7, row), targets(7, {.source = 3, .epoch = 5, .row = 12}));
}

TEST(Masking, LeavesSpecialTokensAndEarlierRowsAlone) {
  const Masking masking = Make({.probability = 1});
  Batch batch = RowOf({kTestClass, 10, 0});
  batch.target_ids_T = {kNoTarget, 10, kNoTarget};
  batch.token_ids_T.insert(batch.token_ids_T.end(),
                           {kTestClass, 20, kTestUnknown, 30, kTestMask, 0});
  batch.position_ids_T.insert(batch.position_ids_T.end(), {0, 1, 2, 3, 4, 5});
  masking.Apply({}, 3, batch);
  EXPECT_EQ(batch.token_ids_T[1], 10);
  EXPECT_EQ(batch.token_ids_T[3], kTestClass);
  EXPECT_EQ(batch.token_ids_T[5], kTestUnknown);
  EXPECT_THAT(batch.target_ids_T, ElementsAre(kNoTarget, 10, kNoTarget, kNoTarget, 20, kNoTarget,
                                              30, kNoTarget, kNoTarget));
}

TEST(Masking, OfWholeWordsTakesAllTokensOfAWordOrNone) {
  // Even ids begin a word, odd ones continue it: words of 1, 2 and 3 tokens.
  const std::vector<int32_t> words = {4, 6, 7, 8, 9, 11};
  std::vector<int32_t> tokens = {kTestClass};
  for (int i = 0; i < 20; ++i) tokens.insert(tokens.end(), words.begin(), words.end());
  const std::vector<size_t> word_begins = {0, 1, 3};
  const Masking masking = Make({.whole_word = true});
  double chosen_tokens = 0, chosen_words = 0;
  const int64_t rows = 2000;
  for (int64_t row = 0; row < rows; ++row) {
    const Batch batch = Masked(masking, {.row = row}, tokens);
    for (size_t group = 1; group < tokens.size(); group += words.size()) {
      for (size_t w = 0; w < word_begins.size(); ++w) {
        const size_t begin = group + word_begins[w], end = begin + w + 1;
        const bool chosen = batch.target_ids_T[begin] != kNoTarget;
        chosen_words += chosen ? 1 : 0;
        for (size_t i = begin; i < end; ++i) {
          EXPECT_EQ(batch.target_ids_T[i], chosen ? tokens[i] : kNoTarget);
          chosen_tokens += chosen ? 1 : 0;
        }
      }
    }
  }
  const double drawn = 60.0 * rows;
  EXPECT_NEAR(chosen_words, 0.15 * drawn, FiveSigma(drawn, 0.15));
  // Every token is chosen with its word: 0.15 of all 120 x rows. A word's tokens count together,
  // (1 + 4 + 9) / 3 times the variance of one.
  EXPECT_NEAR(chosen_tokens, 0.15 * 2 * drawn, 5 * std::sqrt(14.0 / 3 * drawn * 0.15 * 0.85));
}

TEST(Masking, AWordDoesNotReachOverTheBeginningOfAnItem) {
  // The second item begins with a token that continues a word: of its own.
  Batch batch = RowOf({4, 5});
  batch.token_ids_T.push_back(7);
  batch.position_ids_T.push_back(0);
  batch.cu_seqlens.push_back(3);
  const Masking masking = Make({.probability = 0.5, .whole_word = true});
  bool apart = false;
  for (int64_t row = 0; row < 50; ++row) {
    Batch one = batch;
    masking.Apply({.row = row}, 0, one);
    EXPECT_EQ(one.target_ids_T[0] == kNoTarget, one.target_ids_T[1] == kNoTarget);
    apart |= (one.target_ids_T[1] == kNoTarget) != (one.target_ids_T[2] == kNoTarget);
  }
  EXPECT_TRUE(apart);
}

TEST(Masking, ChoosesOnePlaceWhereChanceChoseNone) {
  const Masking masking = Make({.probability = 1e-12});
  std::vector<double> times(4);
  const double rows = 4000;
  for (int64_t row = 0; row < static_cast<int64_t>(rows); ++row) {
    const Batch batch = Masked(masking, {.row = row}, {kTestClass, 10, 20, 30, 40, 0});
    ASSERT_EQ(batch.targets(), 1);
    for (size_t i = 0; i < 4; ++i) times[i] += batch.target_ids_T[i + 1] != kNoTarget ? 1 : 0;
  }
  for (const double count : times) EXPECT_NEAR(count, rows / 4, FiveSigma(rows, 0.25));
}

TEST(Masking, OfARowWithoutOrdinaryTokensChoosesNone) {
  const Masking masking = Make({.probability = 1});
  EXPECT_EQ(Masked(masking, {}, {kTestClass, kTestUnknown, 0}).targets(), 0);
  EXPECT_EQ(masking.OnePlace({}, 0, RowOf({kTestClass, kTestUnknown, 0})), -1);
  Batch nothing;
  masking.Apply({}, 0, nothing);
  EXPECT_THAT(nothing.target_ids_T, IsEmpty());
}

TEST(Masking, RefusesWhatIsNoProbability) {
  for (const double p : {0.0, -0.1, 1.01, std::nan("")})
    EXPECT_THAT(Masking::Create(TestMaskingVocabulary(), {.probability = p}, 1),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("masking.probability")));
  EXPECT_THAT(RowShapeOf(4, nullptr)->length, 4);
  const Masking masking = Make();
  EXPECT_THAT(RowShapeOf(4, &masking),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("train.max_length is 4")));
}

// ------------------------------------------------------------------------------- its vocabulary

TEST(MaskingVocabulary, OfBertHasItsTemplateAndItsWords) {
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       Tokenizer::Load(WordPieceJson({"a", "play", "##ing", "##s", ",", "##"})));
  ASSERT_OK_AND_ASSIGN(const auto vocabulary, MaskingVocabulary::Of(tokenizer));
  const auto id = [&](const char* token) { return *tokenizer.TokenToId(token); };
  EXPECT_EQ(vocabulary.mask, id("[MASK]"));
  EXPECT_THAT(vocabulary.prefix, ElementsAre(id("[CLS]")));
  EXPECT_THAT(vocabulary.suffix, ElementsAre(id("[SEP]")));
  EXPECT_EQ(vocabulary.around(), 2);
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    EXPECT_FALSE(vocabulary.is_ordinary(id(special))) << special;
  // "##" alone stands for no text.
  EXPECT_THAT(vocabulary.ordinary_ids, ElementsAre(5, 6, 7, 8, 9));
  EXPECT_TRUE(vocabulary.Continues(id("play"), id("##ing")));
  EXPECT_FALSE(vocabulary.Continues(id("a"), id("play")));
  EXPECT_FALSE(vocabulary.Continues(id("play"), id(",")));
  EXPECT_FALSE(vocabulary.Continues(id("play"), id("##")));  // two hashes of the text
}

TEST(MaskingVocabulary, OfByteLevelTokensKnowsWhereWordsBegin) {
  TokenizerTrainer trainer;
  const std::string text = "the then there, the other 12 caf\u00e9\nthe theory\n";
  ASSERT_OK(trainer.Feed(std::vector<std::string_view>{text, text}));
  ASSERT_OK_AND_ASSIGN(
      const Tokenizer tokenizer,
      trainer.Finish({.vocab_size = 262, .special_tokens = {"<|endoftext|>", "<mask>"}}));
  ASSERT_OK_AND_ASSIGN(const auto vocabulary, MaskingVocabulary::Of(tokenizer));
  EXPECT_EQ(vocabulary.mask, *tokenizer.TokenToId("<mask>"));
  EXPECT_EQ(vocabulary.around(), 0);
  const auto continues = [&](const std::string& spelled) {
    const auto ids = *tokenizer.Encode(spelled);
    std::string said;
    for (size_t i = 1; i < ids.size(); ++i)
      said += vocabulary.Continues(ids[i - 1], ids[i]) ? 'c' : '|';
    return said;
  };
  // Nothing was joined with z, so each byte is a token; the space is one too, é is two.
  EXPECT_EQ(continues("zz"), "c");
  EXPECT_EQ(continues("z z"), "||");
  EXPECT_EQ(continues("z\nz"), "||");
  EXPECT_EQ(continues("z,z"), "||");
  EXPECT_EQ(continues("z\u00e9z"), "ccc");
  EXPECT_EQ(continues("z1"), "c");
  EXPECT_EQ(continues("x the"), "|");  // one token
}

TEST(MaskingVocabulary, SaysWhatTokenizerItNeeds) {
  TokenizerTrainer trainer;
  ASSERT_OK(trainer.Feed(std::vector<std::string_view>{"some text, some text"}));
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer, trainer.Finish({.vocab_size = 258}));
  EXPECT_THAT(MaskingVocabulary::Of(tokenizer),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no mask token ([MASK], <mask>")));
  EXPECT_THAT(MaskingVocabulary::Of(tokenizer, "<hole>"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no token \"<hole>\"")));
  EXPECT_OK(MaskingVocabulary::Of(tokenizer, "<|endoftext|>"));
}

}  // namespace
}  // namespace trainyard::worker

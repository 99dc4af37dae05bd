// Training WordPiece and Unigram; byte-level BPE is tested in tokenizer_test.cc.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>

#include "tests/support/status_matchers.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kText =
    "The player plays and played; the players are playing.\n"
    "A Playful play, played by players. Été, café, cafés!\n"
    "東京 is 京都 spelled otherwise: 東京, 京都.\n";

StatusOr<Tokenizer> Trained(TokenizerKind kind, TokenizerTrainingOptions options,
                            const std::vector<std::string_view>& texts = {kText}) {
  if (kind == TokenizerKind::kWordPiece) options.special_tokens = BertSpecialTokens();
  TokenizerTrainer trainer({.kind = kind});
  RETURN_IF_ERROR(trainer.Feed(texts));
  return trainer.Finish(options);
}

std::vector<std::string> Tokens(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> tokens;
  const std::vector<int32_t> ids = *tokenizer.Encode(text, {.add_special_tokens = true});
  for (const int32_t id : ids) tokens.push_back(*tokenizer.IdToToken(id));
  return tokens;
}

TEST(WordPieceTraining, LearnsWordsAndTheirEndings) {
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       Trained(TokenizerKind::kWordPiece, {.vocab_size = 58}));
  EXPECT_EQ(tokenizer.vocab_size(), 58);
  EXPECT_EQ(tokenizer.TokenToId("[PAD]"), 0);
  EXPECT_EQ(tokenizer.TokenToId("[MASK]"), 4);
  EXPECT_TRUE(tokenizer.TokenToId("play").has_value());
  EXPECT_EQ(Tokens(tokenizer, "PLAYED").front(), "[CLS]");
  EXPECT_EQ(Tokens(tokenizer, "PLAYED").back(), "[SEP]");
  EXPECT_EQ(Tokens(tokenizer, "PLAYED").size(), 3u);
  EXPECT_THAT(Tokens(tokenizer, "playd"), ElementsAre("[CLS]", "play", "##d", "[SEP]"));
  EXPECT_THAT(Tokens(tokenizer, "Ж"), ElementsAre("[CLS]", "[UNK]", "[SEP]"));
  EXPECT_EQ(*tokenizer.Decode(*tokenizer.Encode("the café, played")), "the cafe, played");
  EXPECT_EQ(Tokens(tokenizer, "東京").size(), 4u);  // each by itself
}

TEST(WordPieceTraining, KeepsCaseAndAccentsWhenAsked) {
  const std::string_view text = kText;
  TokenizerTrainer trainer({.kind = TokenizerKind::kWordPiece, .lowercase = false});
  ASSERT_OK(trainer.Feed({&text, 1}));
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       trainer.Finish({.vocab_size = 62, .special_tokens = BertSpecialTokens()}));
  EXPECT_TRUE(tokenizer.TokenToId("É").has_value());
  EXPECT_EQ(*tokenizer.Decode(*tokenizer.Encode("Été")), "Été");
}

TEST(WordPieceTraining, SaysWhatItNeeds) {
  EXPECT_THAT(Trained(TokenizerKind::kWordPiece, {.vocab_size = 20}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("begin and continue words")));
  EXPECT_LT(Trained(TokenizerKind::kWordPiece, {.vocab_size = 9000})->vocab_size(), 9000);
  TokenizerTrainer trainer({.kind = TokenizerKind::kWordPiece});
  const std::string_view text = kText;
  ASSERT_OK(trainer.Feed({&text, 1}));
  EXPECT_THAT(trainer.Finish({.vocab_size = 58}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("[UNK]")));
}

TEST(UnigramTraining, GivesAnyTextBack) {
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       Trained(TokenizerKind::kUnigram, {.vocab_size = 320}));
  EXPECT_EQ(tokenizer.vocab_size(), 320);
  EXPECT_EQ(tokenizer.TokenToId(kEndOfText), 0);
  for (const std::string text : {"", "play", " played  by players \n\n x", "Ж 😀 \t\r\n",
                                 "<0x41><0xFF><unk>", "a<|endoftext|>b"}) {
    ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode(text));
    EXPECT_EQ(*tokenizer.Decode(ids), text);
    ASSERT_OK_AND_ASSIGN(const auto sizes, tokenizer.TokenSizes());
    size_t bytes = 0;
    for (const int32_t id : ids) bytes += sizes[static_cast<size_t>(id)];
    EXPECT_EQ(bytes, text.size()) << text;
  }
}

TEST(UnigramTraining, LearnsPiecesThatPay) {
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer,
                       Trained(TokenizerKind::kUnigram, {.vocab_size = 320}));
  EXPECT_LT(Tokens(tokenizer, " played by players").size(), 9u);
  for (const std::string& token : Tokens(tokenizer, "play\nplayed"))
    EXPECT_TRUE(token == "\n" || token.find('\n') == std::string::npos) << token;
}

TEST(UnigramTraining, SaysWhatItNeeds) {
  EXPECT_THAT(Trained(TokenizerKind::kUnigram, {.vocab_size = 260}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("256 bytes")));
  EXPECT_LT(Trained(TokenizerKind::kUnigram, {.vocab_size = 9000})->vocab_size(), 9000);
}

class Training : public testing::TestWithParam<TokenizerKind> {};

TEST_P(Training, DoesNotCareHowTextIsFed) {
  const TokenizerTrainingOptions options = {.vocab_size =
                                                GetParam() == TokenizerKind::kWordPiece ? 58 : 318};
  ASSERT_OK_AND_ASSIGN(const Tokenizer whole, Trained(GetParam(), options));
  // Cut before spaces and newlines that follow a letter, the parts in another order.
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t i = 1; i < kText.size(); ++i) {
    const bool after_letter = std::isalnum(static_cast<unsigned char>(kText[i - 1])) != 0;
    if (!after_letter || (kText[i] != ' ' && kText[i] != '\n')) continue;
    parts.push_back(kText.substr(begin, i - begin));
    begin = i;
  }
  parts.push_back(kText.substr(begin));
  ASSERT_GT(parts.size(), 10u);
  std::reverse(parts.begin(), parts.end());
  ASSERT_OK_AND_ASSIGN(const Tokenizer pieces, Trained(GetParam(), options, parts));
  EXPECT_EQ(pieces.json(), whole.json());
}

TEST_P(Training, LeavesOutRareLetters) {
  const bool is_word_piece = GetParam() == TokenizerKind::kWordPiece;
  ASSERT_OK_AND_ASSIGN(
      const Tokenizer tokenizer,
      Trained(GetParam(), {.vocab_size = is_word_piece ? 36 : 300, .alphabet_size = 15}));
  EXPECT_THAT(tokenizer.TokenToId("w"), testing::Eq(std::nullopt));
  EXPECT_TRUE(tokenizer.TokenToId("a").has_value());
}

INSTANTIATE_TEST_SUITE_P(Kinds, Training,
                         testing::Values(TokenizerKind::kWordPiece, TokenizerKind::kUnigram),
                         [](const auto& info) {
                           return info.param == TokenizerKind::kUnigram ? "Unigram" : "WordPiece";
                         });

}  // namespace
}  // namespace trainyard::worker

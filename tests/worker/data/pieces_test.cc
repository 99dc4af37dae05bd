#include "worker/data/pieces.h"

#include <gmock/gmock.h>

#include "common/rng.h"
#include "tests/support/status_matchers.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

TEST(CutPoint, PrefersALineThatEndsWithAWord) {
  EXPECT_EQ(CutPoint("one two\nthree.\nfour five", 20), 7u);  // not after "three."
  EXPECT_EQ(CutPoint("one two three, four", 16), 7u);         // a space after a word
  EXPECT_EQ(CutPoint("....\n.........", 9), 4u);
  EXPECT_EQ(CutPoint("東京東京", 7), 6u);  // between characters
  EXPECT_EQ(CutPoint("aaaaaaaa", 5), 5u);
}

std::vector<TextPiece> Cut(std::string_view text, size_t piece_bytes, size_t fed_at_once) {
  std::vector<TextPiece> pieces;
  PieceCutter cutter(
      [&](std::span<const TextPiece> batch) {
        pieces.insert(pieces.end(), batch.begin(), batch.end());
        return OkStatus();
      },
      piece_bytes);
  for (size_t i = 0; i < text.size(); i += fed_at_once)
    EXPECT_OK(cutter.Text(text.substr(i, fed_at_once)));
  EXPECT_OK(cutter.EndDocument());
  EXPECT_OK(cutter.Finish());
  return pieces;
}

std::string RandomProse(uint64_t seed, size_t bytes) {
  static constexpr std::string_view kWords[] = {
      "word", "don't", "42",   ".", ",", "\n", "\n\n", " ",    "  ",  "\t",   " \n ",   "é",
      "東京", "😀",     "I'll", "(", ")", "--", "a",    "\r\n", "...", " end", "\nNext", " x1"};
  const Rng rng{.seed = seed, .purpose = Purpose::kSample};
  std::string text;
  for (uint64_t i = 0; text.size() < bytes; ++i) text += kWords[rng.Below(std::size(kWords), 0, i)];
  return text;
}

TEST(PieceCutter, CutsTheSameHoweverItIsFed) {
  const std::string text = RandomProse(1, 5000);
  const auto expected = Cut(text, 64, text.size());
  std::string joined;
  for (const TextPiece& piece : expected) {
    EXPECT_LE(piece.text.size(), 64u);
    EXPECT_EQ(piece.ends_document, &piece == &expected.back());
    joined += piece.text;
  }
  EXPECT_EQ(joined, text);
  for (const size_t fed : {1, 7, 63, 64, 65, 1000}) {
    const auto pieces = Cut(text, 64, fed);
    ASSERT_EQ(pieces.size(), expected.size()) << fed;
    for (size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(pieces[i].text, expected[i].text);
  }
}

TEST(PieceCutter, LeavesTheTokensOfTheWholeText) {
  const std::string sample = RandomProse(2, 20000);
  const std::string_view fed = sample;
  TokenizerTrainer trainer;
  ASSERT_OK(trainer.Feed({&fed, 1}));
  auto tokenizer = trainer.Finish({.vocab_size = 400});
  ASSERT_OK(tokenizer);
  for (uint64_t seed = 3; seed < 23; ++seed) {
    const std::string text = RandomProse(seed, 3000);
    ASSERT_OK_AND_ASSIGN(const auto whole, tokenizer->Encode(text));
    std::vector<int32_t> joined;
    for (const TextPiece& piece : Cut(text, 128, text.size())) {
      ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer->Encode(piece.text));
      joined.insert(joined.end(), ids.begin(), ids.end());
    }
    EXPECT_EQ(joined, whole) << seed;
  }
}

}  // namespace
}  // namespace trainyard::worker

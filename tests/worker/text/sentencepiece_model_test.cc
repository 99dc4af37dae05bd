#include "worker/text/sentencepiece_model.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>
#include <vector>

#include "tests/support/status_matchers.h"
#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Fields of a protobuf message.
std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string Number(uint32_t field, int64_t value) {
  return Varint(field << 3) + Varint(static_cast<uint64_t>(value));
}
std::string Bytes(uint32_t field, std::string_view bytes) {
  return Varint(field << 3 | 2) + Varint(bytes.size()) + std::string(bytes);
}
std::string Piece(std::string_view text, float score, int64_t type = 1) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return Bytes(1, Bytes(1, text) + Varint(2 << 3 | 5) + bits + Number(3, type));
}

// A charsmap of one rule, "A" to "b": the root's children lie from unit 256 on.
std::string Charsmap() {
  std::vector<uint32_t> units(512, 0);
  const uint32_t leaf = 256 ^ 2;
  units[0] = 256u << 10;
  units[256 ^ 'A'] = ((256u ^ 'A' ^ leaf) << 10) | 1u << 8 | 'A';
  units[leaf] = 1u << 31;
  std::string charsmap(4 + 4 * units.size(), '\0');
  const auto bytes = static_cast<uint32_t>(4 * units.size());
  std::memcpy(charsmap.data(), &bytes, 4);
  std::memcpy(charsmap.data() + 4, units.data(), bytes);
  return charsmap + "b" + '\0';
}

std::string Pieces() {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) + Piece("\u2581", -1) +
         Piece("a", -2) + Piece("b", -3) + Piece("ab", -0.5);
}
std::string Bpe() { return Pieces() + Bytes(2, Number(3, 2)); }

TEST(SentencePieceModel, IsReadFieldByField) {
  ASSERT_OK_AND_ASSIGN(
      const SentencePieceModel model,
      ParseSentencePieceModel(Pieces() + Piece("<x>", 0, 4) +
                              Bytes(2, Number(3, 2) + Number(35, 1) + Number(43, -1) +
                                           Number(42, 6) + Bytes(99, "of a later version")) +
                              Bytes(3, Number(3, 0) + Bytes(2, Charsmap()) + Number(5, 1))));
  EXPECT_EQ(model.kind, SentencePieceModel::Kind::kBpe);
  EXPECT_EQ(model.pieces.size(), 8);
  EXPECT_EQ(model.pieces[6].text, "ab");
  EXPECT_EQ(model.pieces[6].score, -0.5f);
  EXPECT_EQ(model.pieces[7].type, SentencePiece::Type::kUserDefined);
  EXPECT_TRUE(model.byte_fallback);
  EXPECT_FALSE(model.add_dummy_prefix);
  EXPECT_TRUE(model.remove_extra_whitespaces);
  EXPECT_EQ(model.charsmap, Charsmap());
  EXPECT_EQ(model.eos_id, 6);
  EXPECT_EQ(model.pad_id, std::nullopt);
}

TEST(SentencePieceModel, ItsRulesForCharactersWorkOnText) {
  const std::string file = Bpe() + Bytes(3, Bytes(2, Charsmap()));
  ASSERT_OK_AND_ASSIGN(const LegacyTokenizer made,
                       TokenizerJsonFromLegacy({.tokenizer_model = file}));
  EXPECT_EQ(made.special_tokens.at("bos_token"), "<s>");
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer, Tokenizer::Load(made.tokenizer_json));
  EXPECT_THAT(*tokenizer.Encode("  aA  A ", {.add_special_tokens = true}),
              ElementsAre(1, 3, 6, 3, 5));
}

TEST(SentencePieceModel, EveryCutIsRefusedOrAWholeModel) {
  const std::string whole = Bpe() + Bytes(3, Bytes(2, Charsmap()));
  int refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto model = ParseSentencePieceModel(std::string_view(whole).substr(0, size));
    if (model.ok()) continue;
    ++refused;
    EXPECT_THAT(model.status(),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("tokenizer.model")));
  }
  EXPECT_GT(refused, static_cast<int>(whole.size()) - 10);
}

TEST(SentencePieceModel, RefusesWhatBreaksTheFormat) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const struct {
    std::string file;
    StatusCode code;
    const char* says;
  } cases[] = {
      {Bpe() + Piece("a", 0), StatusCode::kInvalidArgument, "piece 7 is \"a\""},
      {Bpe() + Piece("c", nan), StatusCode::kInvalidArgument, "score of piece 7"},
      {Bpe() + Piece("c", 0, 9), StatusCode::kInvalidArgument, "piece 7 has the type 9"},
      {Bpe() + Piece("c\xff", 0), StatusCode::kInvalidArgument, "not UTF-8 at its byte 1"},
      {Bpe() + Piece("", 0), StatusCode::kInvalidArgument, "piece 7 has 0 bytes"},
      {Bpe() + Piece(std::string(5000, 'c'), 0), StatusCode::kInvalidArgument, "5000 bytes"},
      {Bpe() + Piece("c", 0, 2), StatusCode::kInvalidArgument, "2 pieces stand for"},
      {Bytes(1, Bytes(1, "a")), StatusCode::kInvalidArgument, "0 pieces stand for"},
      {Bpe() + Number(1, 3), StatusCode::kInvalidArgument, "wire type 0"},
      {Bpe() + "\x0b", StatusCode::kInvalidArgument, "wire type 3"},
      {Bpe() + std::string(11, '\xff'), StatusCode::kInvalidArgument, "64 bits"},
      {Bpe() + Bytes(2, Number(3, 3)), StatusCode::kUnimplemented, "one of words"},
      {Bpe() + Bytes(2, Number(3, 4)), StatusCode::kUnimplemented, "one of characters"},
      {"IQ== 0\nIg== 1\n", StatusCode::kUnimplemented, "tiktoken"},
  };
  for (const auto& one : cases)
    EXPECT_THAT(ParseSentencePieceModel(one.file), StatusIs(one.code, HasSubstr(one.says)));
}

TEST(CheckCharsmap, RefusesWaysThatLeadOut) {
  const auto with = [](size_t unit, uint32_t bits) {
    std::string charsmap = Charsmap();
    std::memcpy(charsmap.data() + 4 + 4 * unit, &bits, 4);
    return CheckCharsmap(charsmap);
  };
  EXPECT_OK(CheckCharsmap(Charsmap()));
  EXPECT_THAT(with(0, 1024u << 10), StatusIs(StatusCode::kInvalidArgument, HasSubstr("unit 0")));
  EXPECT_THAT(with(256 ^ 'A', (4096u << 10) | 'A'),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("leads to")));
  EXPECT_THAT(with(256 ^ 2, 1u << 31 | 70),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("the text at 70")));
  EXPECT_THAT(CheckCharsmap("\x08"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("array")));
  std::string unended = Charsmap();
  unended.pop_back();
  EXPECT_THAT(CheckCharsmap(unended), StatusIs(StatusCode::kInvalidArgument, HasSubstr("NUL")));
}

}  // namespace
}  // namespace trainyard::worker

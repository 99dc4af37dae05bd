// GGUF vocabularies and legacy files as tokenizer.json, and back. Compared with transformers on
// real ones by tests/golden/test_text_vocabulary.py.
#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "tests/support/status_matchers.h"
#include "worker/text/gguf_vocabulary.h"
#include "worker/text/legacy_vocabulary.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int32_t kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6;

GgufVocabulary ByteLevelVocabulary() {
  return {.model = "gpt2",
          .pre = "smollm",
          .tokens = {"<s>", "a", "b", "Ġ", "1", "2", "ab", "Ġab", "<x>", "ж"},
          .token_types = {kControl, kNormal, kNormal, kNormal, kNormal, kNormal, kNormal, kNormal,
                          kUserDefined, kNormal},
          .merges = {"a b", "Ġ ab"},
          .bos_id = 0};
}

// "▁", letters, one word, and the byte of "!".
GgufVocabulary SentencePieceVocabulary() {
  return {.model = "llama",
          .tokens = {"<unk>", "<s>", "</s>", "<0x21>", "\u2581", "a", "b", "ab", "\u2581ab", "ba"},
          .token_types = {kUnknown, kControl, kControl, kByte, kNormal, kNormal, kNormal, kNormal,
                          kNormal, kNormal},
          .scores = {0, 0, 0, 0, -5, -6, -7, -2, -1, -3},
          .bos_id = 1,
          .eos_id = 2,
          .unk_id = 0};
}

GgufVocabulary WordPieceVocabulary() {
  return {.model = "bert",
          .tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u2581play", "ing", "\u2581!"},
          .token_types = {kControl, kControl, kControl, kControl, kNormal, kNormal, kNormal}};
}

StatusOr<std::vector<int32_t>> IdsUnder(const GgufVocabulary& vocabulary, std::string_view text,
                                        const EncodeOptions& options = {}) {
  ASSIGN_OR_RETURN(const std::string json, TokenizerJsonFromGguf(vocabulary));
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(json));
  return tokenizer.Encode(text, options);
}

constexpr EncodeOptions kWithSpecials = {.add_special_tokens = true, .parse_special_tokens = true};

TEST(GgufVocabulary, ByteLevelSplitsDigitsAndJoinsByMerges) {
  EXPECT_THAT(*IdsUnder(ByteLevelVocabulary(), "ab ab12<s>", {.parse_special_tokens = true}),
              ElementsAre(6, 7, 4, 5, 0));
}

TEST(GgufVocabulary, ByteLevelKeepsUserDefinedTokensWholeAndSpellsTheRest) {
  // "ж" is written as it is read: in the alphabet of bytes it is "Ð¶".
  EXPECT_THAT(*IdsUnder(ByteLevelVocabulary(), "a<x>", kWithSpecials), ElementsAre(1, 8));
  GgufVocabulary vocabulary = ByteLevelVocabulary();
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"Ð", "¶"});
  vocabulary.token_types.insert(vocabulary.token_types.end(), {kNormal, kNormal});
  vocabulary.merges.push_back("Ð ¶");
  EXPECT_THAT(*IdsUnder(vocabulary, "ж"), ElementsAre(9));
}

TEST(GgufVocabulary, ByteLevelAddsBosWhereTheFileSaysSo) {
  GgufVocabulary vocabulary = ByteLevelVocabulary();
  EXPECT_THAT(*IdsUnder(vocabulary, "a", kWithSpecials), ElementsAre(1));
  vocabulary.add_bos = true;
  EXPECT_THAT(*IdsUnder(vocabulary, "a", kWithSpecials), ElementsAre(0, 1));
  vocabulary.bos_id.reset();
  EXPECT_THAT(TokenizerJsonFromGguf(vocabulary),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("no bos_token_id")));
}

TEST(GgufVocabulary, SentencePieceJoinsByScoreAndFallsBackToBytes) {
  EXPECT_THAT(*IdsUnder(SentencePieceVocabulary(), "ab ab!", kWithSpecials),
              ElementsAre(1, 8, 8, 3));
  EXPECT_THAT(*IdsUnder(SentencePieceVocabulary(), "bab"), ElementsAre(4, 6, 7));
  EXPECT_THAT(*IdsUnder(SentencePieceVocabulary(), "a\u00e9b"), ElementsAre(4, 5, 0, 6));
  GgufVocabulary bare = SentencePieceVocabulary();
  bare.add_space_prefix = false;
  bare.add_bos = false;
  EXPECT_THAT(*IdsUnder(bare, "ab", kWithSpecials), ElementsAre(7));
}

TEST(GgufVocabulary, WordPieceHasItsHashesBack) {
  EXPECT_THAT(*IdsUnder(WordPieceVocabulary(), "Playing! x", kWithSpecials),
              ElementsAre(2, 4, 5, 6, 1, 3));
}

TEST(GgufVocabulary, GoesToAFileAndComesBack) {
  for (GgufVocabulary vocabulary :
       {ByteLevelVocabulary(), SentencePieceVocabulary(), WordPieceVocabulary()}) {
    if (vocabulary.model == "gpt2") vocabulary.tokens.back() = "c";
    ASSERT_OK_AND_ASSIGN(const std::string json, TokenizerJsonFromGguf(vocabulary));
    ASSERT_OK_AND_ASSIGN(const GgufVocabulary back,
                         GgufFromTokenizerJson(json, {.bos = vocabulary.bos_id}));
    EXPECT_EQ(back.model, vocabulary.model);
    EXPECT_EQ(back.tokens, vocabulary.tokens);
    EXPECT_EQ(back.merges, vocabulary.merges);
    EXPECT_EQ(back.bos_id, vocabulary.bos_id);
    ASSERT_OK_AND_ASSIGN(const auto ids, IdsUnder(vocabulary, "ab ab12 ba play", kWithSpecials));
    EXPECT_EQ(*IdsUnder(back, "ab ab12 ba play", kWithSpecials), ids);
  }
}

TEST(GgufVocabulary, FillsHolesInTheIdsWithUnusedTokens) {
  ASSERT_OK_AND_ASSIGN(
      const GgufVocabulary back,
      GgufFromTokenizerJson(
          R"({"model":{"type":"WordPiece","continuing_subword_prefix":"##","vocab":{"a":0,"##b":3}},
              "normalizer":{"type":"BertNormalizer","lowercase":true},
              "pre_tokenizer":{"type":"BertPreTokenizer"}})",
          {}));
  EXPECT_THAT(back.tokens, ElementsAre("\u2581a", "[PAD1]", "[PAD2]", "b"));
  EXPECT_THAT(back.token_types, ElementsAre(1, 5, 5, 1));
}

struct Broken {
  std::function<void(GgufVocabulary&)> breaks;
  StatusCode code;
  const char* says;
};

TEST(GgufVocabulary, RefusesWhatDoesNotFit) {
  const Broken cases[] = {
      {[](auto& v) { v.tokens.clear(); }, StatusCode::kInvalidArgument, "0 entries"},
      {[](auto& v) { v.token_types.pop_back(); }, StatusCode::kInvalidArgument, "token_type"},
      {[](auto& v) { v.token_types[2] = 9; }, StatusCode::kInvalidArgument,
       "token 2 has the type 9"},
      {[](auto& v) { v.scores = {1}; }, StatusCode::kInvalidArgument, "scores"},
      {[](auto& v) { v.tokens[1] = "a\xff"; }, StatusCode::kInvalidArgument,
       "token 1 is not UTF-8"},
      {[](auto& v) { v.tokens[2] = "a"; }, StatusCode::kInvalidArgument, "tokens 1 and 2"},
      {[](auto& v) { v.eos_id = 10; }, StatusCode::kInvalidArgument, "eos_token_id is 10"},
      {[](auto& v) { v.pad_id = -1; }, StatusCode::kInvalidArgument, "padding_token_id is -1"},
      {[](auto& v) { v.merges[1] = "ab"; }, StatusCode::kInvalidArgument, "merge 1"},
      {[](auto& v) { v.merges[0] = "a z"; }, StatusCode::kInvalidArgument, "\"z\""},
      {[](auto& v) { v.pre = "klingon"; }, StatusCode::kUnimplemented, "klingon"},
      {[](auto& v) { v.model = "rwkv"; }, StatusCode::kUnimplemented, "rwkv"},
      {[](auto& v) {
         v.model = "llama";
         v.merges.clear();
       },
       StatusCode::kInvalidArgument, "scores"},
      {[](auto& v) { v.model = "bert"; }, StatusCode::kInvalidArgument, "[UNK]"},
  };
  for (const Broken& one : cases) {
    GgufVocabulary vocabulary = ByteLevelVocabulary();
    one.breaks(vocabulary);
    EXPECT_THAT(TokenizerJsonFromGguf(vocabulary), StatusIs(one.code, HasSubstr(one.says)));
  }
}

TEST(GgufFromTokenizerJson, SaysWhereLlamaCppPutsASpaceAndTheFileDoesNot) {
  ASSERT_OK_AND_ASSIGN(std::string json, TokenizerJsonFromGguf(SentencePieceVocabulary()));
  EXPECT_THAT(GgufFromTokenizerJson(json, {})->notes, IsEmpty());
  auto metaspace = nlohmann::json::parse(json);
  metaspace["normalizer"] = nullptr;
  metaspace["pre_tokenizer"] = {{"type", "Metaspace"},
                                {"replacement", "\u2581"},
                                {"prepend_scheme", "first"},
                                {"split", false}};
  EXPECT_THAT(GgufFromTokenizerJson(metaspace.dump(), {})->notes,
              ElementsAre(HasSubstr("begin with a space")));
  metaspace["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_THAT(GgufFromTokenizerJson(metaspace.dump(), {})->notes, IsEmpty());
}

TEST(GgufFromTokenizerJson, RefusesWhatLlamaCppHasNoNameFor) {
  const auto from = [](std::string_view json) { return GgufFromTokenizerJson(json, {}).status(); };
  EXPECT_THAT(from("{"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("not JSON")));
  EXPECT_THAT(from(R"({"model":{"type":"Unigram","vocab":[["a",0]]}})"),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("Unigram")));
  EXPECT_THAT(
      from(R"({"model":{"type":"BPE","vocab":{"a":0}},"pre_tokenizer":{"type":"Whitespace"}})"),
      StatusIs(StatusCode::kUnimplemented, HasSubstr("Whitespace")));
  EXPECT_THAT(from(R"({"model":{"type":"BPE","byte_fallback":true,"vocab":{"a":-1}},
                       "pre_tokenizer":{"type":"Metaspace"}})"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1")));
}

TEST(LegacyFiles, BertVocabularyBecomesWordPiece) {
  constexpr std::string_view kVocab = "[PAD]\n[UNK]\r\n[CLS]\n[SEP]\n[MASK]\nplay\n##ing\nPlay\n";
  const auto ids = [&](std::string_view config) {
    const auto json =
        TokenizerJsonFromLegacy({.vocab_txt = kVocab, .tokens = {.tokenizer_config = config}});
    return *Tokenizer::Load(json->tokenizer_json)->Encode("Playing[MASK]", kWithSpecials);
  };
  EXPECT_THAT(ids("{}"), ElementsAre(2, 5, 6, 4, 3));
  EXPECT_THAT(ids(R"({"do_lower_case":false})"), ElementsAre(2, 7, 6, 4, 3));
  EXPECT_THAT(TokenizerJsonFromLegacy({.vocab_txt = "a\nb"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("[")));
}

TEST(LegacyFiles, Gpt2FilesBecomeByteLevelBpe) {
  constexpr std::string_view kVocab = R"({"a":0,"b":1,"ab":2,"Ġ":3,"<|endoftext|>":4})";
  ASSERT_OK_AND_ASSIGN(
      const LegacyTokenizer made,
      TokenizerJsonFromLegacy({.vocab_json = kVocab, .merges_txt = "#version: 0.2\na b\n"}));
  ASSERT_OK_AND_ASSIGN(const Tokenizer tokenizer, Tokenizer::Load(made.tokenizer_json));
  EXPECT_THAT(*tokenizer.Encode("ab a<|endoftext|>", kWithSpecials), ElementsAre(2, 3, 0, 4));
  EXPECT_THAT(TokenizerJsonFromLegacy({.vocab_json = kVocab, .merges_txt = "a c\n"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("line 1")));
  EXPECT_THAT(TokenizerJsonFromLegacy({.vocab_json = R"({"a":-4})", .merges_txt = ""}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("-4")));
  EXPECT_THAT(TokenizerJsonFromLegacy({.vocab_json = kVocab}),
              StatusIs(StatusCode::kNotFound, HasSubstr("merges.txt")));
}

}  // namespace
}  // namespace trainyard::worker

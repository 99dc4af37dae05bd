#include "worker/text/tokenizer.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/rng.h"
#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kText =
    "the cat sat on the mat; the cat ate the rat. été été cœur cœur 東京 東京 😀 😀\n";

Tokenizer Trained(std::string_view text = kText, int64_t vocab_size = 270) {
  TokenizerTrainer trainer;
  EXPECT_OK(trainer.Feed({&text, 1}));
  return *trainer.Finish({.vocab_size = vocab_size});
}

TEST(Tokenizer, GivesAnyTextBack) {
  const Tokenizer tokenizer = Trained();
  for (const std::string text : {"", "the cat", "never seen: ÿ 𝄞 \t\n\n  x", "a<|endoftext|>b"}) {
    ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode(text));
    EXPECT_EQ(*tokenizer.Decode(ids), text);
  }
}

TEST(Tokenizer, LoadsWhatItSavedAndKeepsItsBytes) {
  const Tokenizer tokenizer = Trained();
  ASSERT_OK_AND_ASSIGN(const Tokenizer loaded, Tokenizer::Load(tokenizer.json()));
  EXPECT_EQ(loaded.json(), tokenizer.json());
  EXPECT_EQ(loaded.vocab_size(), 270);
  EXPECT_EQ(*loaded.Encode(kText), *tokenizer.Encode(kText));
}

// Merges as pairs are read here, merges as "a b" by the crate: two readers of one model.
TEST(Tokenizer, ReadsABpeModelAsTheCrateDoes) {
  const nlohmann::json trained = nlohmann::json::parse(Trained().json());
  for (const char* options : {
           R"({})",
           R"({"unk_token": "a", "fuse_unk": true})",
           R"({"unk_token": "a", "fuse_unk": false})",
           R"({"byte_fallback": true})",
           R"({"ignore_merges": true})",
           R"({"end_of_word_suffix": "t"})",
           R"({"continuing_subword_prefix": ""})",
           R"({"dropout": null})",
       }) {
    nlohmann::json pairs = trained;
    pairs["model"].update(nlohmann::json::parse(options));
    nlohmann::json lines = pairs;
    for (nlohmann::json& merge : lines["model"]["merges"])
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    ASSERT_OK_AND_ASSIGN(const Tokenizer ours, Tokenizer::Load(pairs.dump()));
    ASSERT_OK_AND_ASSIGN(const Tokenizer theirs, Tokenizer::Load(lines.dump()));
    EXPECT_EQ(ours.vocab_size(), theirs.vocab_size()) << options;
    EXPECT_EQ(*ours.TokenSizes(), *theirs.TokenSizes()) << options;
    for (const std::string text : {"the cat sat", "Quebec 東京 q\x01", "a<|endoftext|>b", ""})
      for (const bool parse_special : {false, true})
        EXPECT_EQ(*ours.Encode(text, {.parse_special_tokens = parse_special}),
                  *theirs.Encode(text, {.parse_special_tokens = parse_special}))
            << options << text;
  }
}

TEST(Tokenizer, ASizeIsOneMoreThanTheLargestIdAlsoWhereIdsAreMissing) {
  nlohmann::json json = nlohmann::json::parse(Trained().json());
  const int64_t dense = Trained().vocab_size();
  json["model"]["vocab"]["far away"] = dense + 40;
  ASSERT_OK_AND_ASSIGN(const Tokenizer holes, Tokenizer::Load(json.dump()));
  EXPECT_EQ(holes.vocab_size(), dense + 41);
  EXPECT_EQ(holes.TokenSizes()->at(static_cast<size_t>(dense)), 0u);
}

TEST(Tokenizer, TakesASpelledOutSpecialTokenForTextUnlessAsked) {
  const Tokenizer tokenizer = Trained();
  EXPECT_EQ(tokenizer.TokenToId(kEndOfText), 0);
  EXPECT_THAT(*tokenizer.Encode(kEndOfText, {.parse_special_tokens = true}), ElementsAre(0));
  EXPECT_THAT(*tokenizer.Encode(kEndOfText), testing::Not(testing::Contains(0)));
  EXPECT_EQ(*tokenizer.Decode(std::vector<int32_t>{0}, /*skip_special_tokens=*/true), "");
}

TEST(Tokenizer, HasAsManyEntriesAsTheTextSupports) {
  TokenizerTrainer trainer;
  ASSERT_OK(trainer.Feed({&kText, 1}));
  ASSERT_OK_AND_ASSIGN(const Tokenizer largest, trainer.Finish({.vocab_size = 100000}));
  EXPECT_GT(largest.vocab_size(), 257);
  EXPECT_LT(largest.vocab_size(), 100000);
  // The same as if so many had been asked for; fewer are fewer.
  EXPECT_EQ(trainer.Finish({.vocab_size = largest.vocab_size()})->json(), largest.json());
  EXPECT_EQ(trainer.Finish({.vocab_size = largest.vocab_size() - 1})->vocab_size(),
            largest.vocab_size() - 1);
  EXPECT_THAT(trainer.Finish({.vocab_size = 256}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("at least 257")));
  // Numbers for which there is no memory are refused before it is asked for.
  for (const int64_t absurd : {int64_t{-4}, int64_t{0}, kVocabSizeMax + 1, int64_t{9999999999999}})
    EXPECT_THAT(trainer.Finish({.vocab_size = absurd}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("between 1 and 1048576")));
}

TEST(Tokenizer, RefusesWhatIsNotATokenizerOrNotText) {
  EXPECT_THAT(Tokenizer::Load("{}"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("Model missing")));
  EXPECT_THAT(Tokenizer::Load("\xff"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("UTF-8")));
  const Tokenizer tokenizer = Trained();
  EXPECT_THAT(tokenizer.Encode("ab\xff"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("byte 2")));
  EXPECT_THAT(tokenizer.Decode(std::vector<int32_t>{1, 270}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("270")));
  EXPECT_THAT(tokenizer.Decode(std::vector<int32_t>{-1}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1")));
  EXPECT_THAT(tokenizer.IdToToken(999), StatusIs(StatusCode::kInvalidArgument, HasSubstr("999")));
}

TEST(Tokenizer, TurnsAPanicOfTheCrateIntoAnErrorAndPrintsNothing) {
  // tokenizers 0.23 loads both and panics when they are used: a Strip decoder that takes two spaces
  // off a token of one, a template of a special token that it does not list.
  constexpr std::string_view kStrips = R"({"version": "1.0", "added_tokens": [],
      "decoder": {"type": "Strip", "content": " ", "start": 0, "stop": 2},
      "model": {"type": "BPE", "vocab": {" ": 0}, "merges": []}})";
  constexpr std::string_view kNamesNobody = R"({"version": "1.0", "added_tokens": [],
      "post_processor": {"type": "TemplateProcessing", "special_tokens": {}, "pair": [],
                         "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]},
      "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})";
  ASSERT_OK_AND_ASSIGN(const Tokenizer strips, Tokenizer::Load(kStrips));
  ASSERT_OK_AND_ASSIGN(const Tokenizer names_nobody, Tokenizer::Load(kNamesNobody));
  const std::vector<std::string_view> texts = {"a", "a"};

  testing::internal::CaptureStderr();
  const Status here = strips.Decode(std::vector<int32_t>{0}).status();
  const Status on_its_threads =
      names_nobody.EncodeAll(texts, {.add_special_tokens = true}).status();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");

  EXPECT_THAT(here, StatusIs(StatusCode::kInternal,
                             AllOf(HasSubstr("panicked at tokenizers-"),
                                   HasSubstr("/src/decoders/strip.rs:"), HasSubstr("index"))));
  EXPECT_THAT(on_its_threads,
              StatusIs(StatusCode::kInternal, AllOf(HasSubstr("panicked at tokenizers-"),
                                                    HasSubstr("/src/processors/template.rs:"))));
}

TEST(Tokenizer, MayBeTheLastThingToGo) {
  // Static: destroyed when the main thread's own variables are gone, those of the crate among them.
  static const Tokenizer tokenizer = Trained();
  EXPECT_EQ(tokenizer.vocab_size(), 270);
}

TEST(Tokenizer, EncodesManyTextsAsItEncodesEach) {
  const Tokenizer tokenizer = Trained();
  const std::vector<std::string_view> texts = {"the cat", "", "été 😀", kText};
  ASSERT_OK_AND_ASSIGN(const EncodedTexts all, tokenizer.EncodeAll(texts));
  ASSERT_EQ(all.ends.size(), texts.size());
  size_t begin = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(std::vector<int32_t>(all.ids.begin() + static_cast<int64_t>(begin),
                                   all.ids.begin() + static_cast<int64_t>(all.ends[i])),
              *tokenizer.Encode(texts[i]));
    begin = all.ends[i];
  }
}

TEST(Tokenizer, KnowsTheBytesOfEachToken) {
  const Tokenizer tokenizer = Trained();
  ASSERT_OK_AND_ASSIGN(const auto sizes, tokenizer.TokenSizes());
  ASSERT_EQ(sizes.size(), 270u);
  EXPECT_EQ(sizes[0], 0u);
  size_t bytes = 0;
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode(kText));
  for (const int32_t id : ids) bytes += sizes[static_cast<size_t>(id)];
  EXPECT_EQ(bytes, kText.size());
}

TEST(TokenizerTrainer, DoesNotCareHowTextIsFed) {
  TokenizerTrainer pieces;
  // Cut before newlines that follow a word, and in any order.
  const std::vector<std::string_view> later = {"\nthe mat", "\nthe hat"};
  const std::vector<std::string_view> sooner = {"the cat\nthe cat"};
  ASSERT_OK(pieces.Feed(later));
  ASSERT_OK(pieces.Feed(sooner));
  EXPECT_EQ(pieces.Finish({.vocab_size = 260})->json(),
            Trained("the cat\nthe cat\nthe mat\nthe hat", 260).json());
}

TEST(DecodeStream, NeverGivesHalfACharacter) {
  const Tokenizer tokenizer = Trained("plain text plain text", 258);  // most characters are bytes
  const std::string text = "a 😀é東\xEF\xBF\xBDx\xEF\xBF\xBD";
  DecodeStream stream = tokenizer.StartDecoding();
  std::string joined;
  ASSERT_OK_AND_ASSIGN(const auto ids, tokenizer.Encode(text));
  for (const int32_t id : ids) {
    ASSERT_OK_AND_ASSIGN(const std::string part, stream.Step(id));
    EXPECT_EQ(FindInvalidUtf8(part), std::string::npos);
    joined += part;
    EXPECT_TRUE(text.starts_with(joined)) << joined;
  }
  joined += *stream.Finish();
  EXPECT_EQ(joined, text);
}

TEST(DecodeStream, JoinsToTheDecodedWholeWhateverTheTokens) {
  const Tokenizer tokenizer = Trained();
  const Rng rng{.seed = 7, .purpose = Purpose::kSample};
  for (uint64_t round = 0; round < 200; ++round) {
    std::vector<int32_t> ids(24);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(rng.Below(270, round, i));
    DecodeStream stream = tokenizer.StartDecoding();
    std::string joined;
    for (const int32_t id : ids) joined += *stream.Step(id);
    joined += *stream.Finish();
    EXPECT_EQ(joined, *tokenizer.Decode(ids)) << round;
  }
}

TEST(DecodeStream, DoesNotWaitForeverForWhatIsNotText) {
  const Tokenizer tokenizer = Trained();
  const int32_t continuation = *tokenizer.TokenToId("Ģ");  // the byte 0x80 by itself
  DecodeStream stream = tokenizer.StartDecoding();
  std::string joined;
  for (int i = 0; i < 100; ++i) joined += *stream.Step(continuation);
  EXPECT_GE(joined.size(), 3u * 64);
  EXPECT_THAT(stream.Step(270), StatusIs(StatusCode::kInvalidArgument, HasSubstr("270")));
}

}  // namespace
}  // namespace trainyard::worker

// Recordings of the Python library (tests/golden/test_tokenizer.py). TRAINYARD_GOLDEN_DIR names
// another folder with text.txt and golden.json.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "tests/support/places.h"
#include "tests/support/status_matchers.h"
#include "worker/text/tokenizer.h"

namespace trainyard::worker {
namespace {

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder_name = std::getenv("TRAINYARD_GOLDEN_DIR");
    const std::filesystem::path folder =
        folder_name != nullptr ? folder_name : SourceFolder() / "tests/golden/tokenizer";
    ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(folder / "text.txt"));
    ASSERT_OK_AND_ASSIGN(const std::string json, ReadFile(folder / "golden.json"));
    golden_ = nlohmann::json::parse(json);
    TokenizerTrainer trainer;
    const std::string_view all = text;
    ASSERT_OK(trainer.Feed({&all, 1}));
    auto tokenizer = trainer.Finish({.vocab_size = golden_["vocab_size"]});
    ASSERT_OK(tokenizer);
    tokenizer_.emplace(*std::move(tokenizer));
  }

  nlohmann::json golden_;
  std::optional<Tokenizer> tokenizer_;
};

TEST_F(Golden, TrainingGivesTheLibrarysVocabulary) {
  ASSERT_EQ(tokenizer_->vocab_size(), static_cast<int64_t>(golden_["vocab"].size()));
  for (const auto& [token, id] : golden_["vocab"].items())
    EXPECT_EQ(tokenizer_->TokenToId(token), id.get<int32_t>()) << token;
}

TEST_F(Golden, EncodingGivesTheLibrarysIdsAndRanges) {
  ASSERT_FALSE(golden_["cases"].empty());
  for (const auto& one : golden_["cases"]) {
    const std::string text = one["text"];
    ASSERT_OK_AND_ASSIGN(const EncodedText encoded, tokenizer_->EncodeWithRanges(text));
    EXPECT_EQ(encoded.ids, one["ids"].get<std::vector<int32_t>>()) << text;
    std::vector<TextRange> ranges;
    for (const auto& range : one["ranges"]) ranges.push_back({range[0], range[1]});
    EXPECT_EQ(encoded.ranges, ranges) << text;
    ASSERT_OK_AND_ASSIGN(const auto with_specials,
                         tokenizer_->Encode(text, {.parse_special_tokens = true}));
    EXPECT_EQ(with_specials, one["ids_with_specials"].get<std::vector<int32_t>>()) << text;
  }
}

TEST_F(Golden, DecodingGivesTheLibrarysText) {
  for (const auto& one : golden_["cases"]) {
    const auto ids = one["ids_with_specials"].get<std::vector<int32_t>>();
    EXPECT_EQ(*tokenizer_->Decode(ids, /*skip_special_tokens=*/true), one["decoded"]);
  }
}

}  // namespace
}  // namespace trainyard::worker

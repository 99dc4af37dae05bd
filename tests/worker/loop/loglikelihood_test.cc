#include "worker/loop/loglikelihood.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/status_matchers.h"
#include "tests/worker/support/batches.h"
#include "worker/loop/evaluation_report.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

TEST(Score, IsTheSumOverEachContinuationHoweverTextsAreBatched) {
  ASSERT_OK_AND_ASSIGN(const auto engine, Engine::Create(TinyLlama(), {}));
  std::vector<ScoredText> texts;
  for (uint32_t i = 0; i < 9; ++i)
    texts.push_back({NoiseItem(1 + i % 4, 37, i), NoiseItem(1 + i, 37, 100 + i)});
  int beats = 0;
  const auto beat = [&] {
    ++beats;
    return OkStatus();
  };
  ASSERT_OK_AND_ASSIGN(
      const auto alone,
      Score(*engine, texts, {.max_length = 16, .batch_tokens_max = 1, .beat = beat}));
  EXPECT_EQ(beats, 9);
  beats = 0;
  // 1, 3, 5 and 7 tokens are read of the first four, then 5, 7, then 9, then 11, then 9.
  ASSERT_OK(Score(*engine, texts, {.max_length = 16, .batch_tokens_max = 16, .beat = beat}));
  EXPECT_EQ(beats, 5);
  ASSERT_OK_AND_ASSIGN(const auto together,
                       Score(*engine, texts, {.max_length = 16, .batch_tokens_max = 1000}));
  ASSERT_EQ(alone.size(), 9u);
  ASSERT_EQ(together.size(), 9u);
  for (size_t i = 0; i < 9; ++i) {
    Batch batch;
    ASSERT_OK(AppendScored(texts[i], 16, batch));
    ASSERT_OK_AND_ASSIGN(const TokenOutputs outputs, engine->Forward(batch));
    double nats = 0;
    for (const float logprob : outputs.logprob_N) nats += logprob;
    EXPECT_NEAR(alone[i].nats, nats, 1e-4);
    EXPECT_NEAR(together[i].nats, nats, 1e-4);
    EXPECT_EQ(alone[i].tokens, static_cast<int64_t>(i) + 1);
    const bool greedy = std::count(outputs.argmax_match_N.begin(), outputs.argmax_match_N.end(),
                                   1) == static_cast<int64_t>(i) + 1;
    EXPECT_EQ(alone[i].is_greedy, greedy);
  }
}

TEST(Score, OfTheLikeliestTokenIsGreedy) {
  ASSERT_OK_AND_ASSIGN(const auto engine, Engine::Create(TinyLlama(), {}));
  int greedy = 0;
  for (int32_t token = 0; token < 37; ++token) {
    const std::vector<ScoredText> text = {{{3, 5}, {token}}};
    ASSERT_OK_AND_ASSIGN(const auto score, Score(*engine, text, {.max_length = 16}));
    greedy += score[0].is_greedy ? 1 : 0;
  }
  EXPECT_EQ(greedy, 1);
  EXPECT_THAT(Score(*engine, std::vector<ScoredText>{{{1}, {2, 3}}}, {.max_length = 1}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("longer than the 1")));
}

TEST(Perplexities, AreOfSumsOverDocuments) {
  // 12 bits over 3 words, 6 bytes and 4 tokens.
  const double bits = 12;
  const Perplexities found =
      PerplexitiesOf({{.nats = -9 * std::log(2), .tokens = 3, .words = 1, .bytes = 2},
                      {.nats = -(bits - 9) * std::log(2), .tokens = 1, .words = 2, .bytes = 4}});
  EXPECT_EQ(found.documents, 2);
  EXPECT_NEAR(found.word_perplexity, std::exp2(4), 1e-9);
  EXPECT_NEAR(found.byte_perplexity, std::exp2(2), 1e-9);
  EXPECT_NEAR(found.bits_per_byte, 2, 1e-9);
  EXPECT_NEAR(found.perplexity, std::exp2(3), 1e-9);
  EXPECT_EQ(PerplexitiesOf({}).word_perplexity, 0);
}

TEST(ModelReport, HasEverySourceAndDocument) {
  const ModelReport report{
      .setting = {{"model", "m"}},
      .sources = {
          {.name = "a.txt", .documents = {{.nats = -1, .tokens = 2, .words = 3, .bytes = 4}}},
          {.name = "longer.txt",
           .documents = {{.nats = -2, .tokens = 2, .words = 2, .bytes = 8}}}}};
  const auto json = nlohmann::json::parse(ReportJson(report));
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["setting"]["model"], "m");
  EXPECT_EQ(json["results"]["documents"], 2);
  EXPECT_NEAR(json["results"]["word_perplexity"], std::exp(3.0 / 5), 1e-12);
  EXPECT_NEAR(json["sources"][1]["results"]["word_perplexity"], std::exp(1), 1e-12);
  EXPECT_EQ(json["sources"][0]["documents"][0]["loglikelihood"], -1);
  const std::string table = ReportTable(report);
  EXPECT_THAT(table, HasSubstr("source      documents"));
  EXPECT_THAT(table, HasSubstr("\nlonger.txt          1          2           2.7183"));
  EXPECT_THAT(table, HasSubstr("\nall                 2          4           1.8221"));
}

}  // namespace
}  // namespace trainyard::worker

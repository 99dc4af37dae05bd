#include "worker/loop/evaluate.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/status_matchers.h"
#include "tests/worker/data/masked_text.h"
#include "tests/worker/data/shards.h"
#include "tests/worker/support/batches.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

TEST(Evaluation, IsTheMeanOverTargetsAndTheBitsOverBytes) {
  EvaluationSums sums;
  // Four targets for 6 bytes of text: probabilities 1/2, 1/4 and 1/4, 1/4.
  const auto log2 = [](double p) { return static_cast<float>(std::log(p)); };
  sums.Add({.batch = {}, .source_bytes = 2},
           {.logprob_N = {log2(0.5), log2(0.25)}, .entropy_N = {0, 0}, .argmax_match_N = {1, 0}});
  sums.Add({.batch = {}, .source_bytes = 4},
           {.logprob_N = {log2(0.25), log2(0.25)}, .entropy_N = {0, 0}, .argmax_match_N = {0, 0}});
  ASSERT_OK_AND_ASSIGN(const Evaluation evaluation, sums.Finish());
  EXPECT_EQ(evaluation.targets, 4);
  // (1 + 2 + 2 + 2) bits = 7 bits; 7/4 bits a token, 7/6 bits a byte.
  EXPECT_NEAR(evaluation.loss, 7.0 / 4 * std::log(2), 1e-6);
  EXPECT_NEAR(evaluation.perplexity, std::pow(2, 7.0 / 4), 1e-5);
  EXPECT_NEAR(evaluation.bits_per_byte, 7.0 / 6, 1e-6);
  EXPECT_EQ(evaluation.token_accuracy, 0.25);
}

TEST(Evaluation, OfNothingIsRefused) {
  EXPECT_THAT(EvaluationSums().Finish(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.validation")));
}

// Any model has a loss on masked rows: here one that only sees what is before them.
TEST(MaskedEvaluation, IsOfMaskedPlacesAndOfPlacesMaskedOneAtATime) {
  const ModelConfig config = TinyLlama();  // 37 tokens, 64 positions
  const Folder folder;
  std::vector<int32_t> document;
  for (int i = 0; i < 300; ++i) document.push_back(kFirstOrdinary + i * i % 33);
  const auto path = folder.path() / "a.tok";
  WriteShard(path, {document, {kTestUnknown, kTestUnknown}},
             TestVocabulary(static_cast<size_t>(config.vocab_size)));
  ASSERT_OK_AND_ASSIGN(const auto shard, TokenShard::Open(path));
  ASSERT_OK_AND_ASSIGN(const Masking masking,
                       Masking::Create(TestMaskingVocabulary(37), {.probability = 0.3}, 5));
  ASSERT_OK_AND_ASSIGN(const auto rows, EvaluationRows::Create({shard}, 16, 0, &masking));
  ASSERT_OK_AND_ASSIGN(const auto engine, Engine::Create(config, {}));

  int beats = 0;
  const EvaluateOptions options{.micro_batch_rows = 3, .timeout = absl::Seconds(1), .beat = [&] {
                                  ++beats;
                                  return OkStatus();
                                }};
  ASSERT_OK_AND_ASSIGN(const MaskedEvaluation got,
                       EvaluateMasked(*engine, rows, /*one_by_one=*/true, options));
  // 300 tokens in full rows of 14 and a rest of 6 beside the two unknown ones: 22 rows.
  EXPECT_EQ(rows.rows(), 22);
  EXPECT_EQ(beats, 2 * 8);
  EXPECT_EQ(got.targets, rows.targets());
  EXPECT_EQ(got.single_places, 22);
  EXPECT_EQ(got.commonest_accuracy, rows.commonest_target_share());
  EXPECT_GT(got.commonest_accuracy, 1.0 / 33);

  // The same by hand, row by row.
  EvaluationSums masked, single;
  const auto each_masked = rows.MicroBatches(0, 1, 1), each_single = rows.SinglePlaces(0, 1, 1);
  ASSERT_OK(each_masked);
  ASSERT_OK(each_single);
  for (const EvaluationBatch& one : *each_masked) masked.Add(one, *engine->Forward(one.batch));
  for (const EvaluationBatch& one : *each_single) single.Add(one, *engine->Forward(one.batch));
  EXPECT_NEAR(got.loss, masked.Finish()->loss, 1e-6);
  EXPECT_EQ(got.accuracy, masked.Finish()->token_accuracy);
  EXPECT_NEAR(got.pseudo_perplexity, std::exp(single.nats / 22), 1e-5);

  ASSERT_OK_AND_ASSIGN(const MaskedEvaluation quick,
                       EvaluateMasked(*engine, rows, /*one_by_one=*/false, options));
  EXPECT_EQ(quick.single_places, 0);
  EXPECT_EQ(quick.loss, got.loss);
}

TEST(EvaluationReport, OfMaskedRowsSaysWhatGuessingWouldGive) {
  const MaskedEvaluation evaluation{.targets = 1000,
                                    .loss = 2,
                                    .accuracy = 0.4251,
                                    .commonest_accuracy = 0.058,
                                    .single_places = 64,
                                    .pseudo_perplexity = 9.5};
  const EvaluationReport report = ReportOf(evaluation);
  EXPECT_EQ(report.conclusion,
            "masked accuracy 42.5 % of 1000 places; always guessing their commonest token would "
            "give 5.8 %; pseudo-perplexity 9.50 over 64 places masked one at a time");
  EXPECT_THAT(report.metrics, testing::Contains(testing::Pair("eval_masked_accuracy", 0.4251)));
  EXPECT_THAT(report.metrics, testing::Contains(testing::Pair("eval_pseudo_perplexity", 9.5)));
  EXPECT_THAT(ReportOf(MaskedEvaluation{.targets = 1}).line,
              testing::Not(HasSubstr("pseudo_perplexity")));
}

}  // namespace
}  // namespace trainyard::worker

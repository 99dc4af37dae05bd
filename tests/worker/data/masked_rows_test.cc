// The loader and the validation rows of masked language modelling.
#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/support/status_matchers.h"
#include "tests/worker/data/masked_text.h"
#include "tests/worker/data/shards.h"
#include "worker/data/evaluation_rows.h"
#include "worker/data/loader.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

class MaskedRows : public testing::Test {
 protected:
  Loader MakeLoader() {
    return *Loader::Create(
        {{.shards = shards_}},
        {.seed = 9, .max_length = 16, .global_batch_size = 12, .masking = &masking_});
  }
  EvaluationRows MakeRows(int64_t max_rows) {
    return *EvaluationRows::Create(shards_, 16, max_rows, &masking_);
  }
  // What the model sees of a step, item by item in rank order.
  using Item = std::pair<std::vector<int32_t>, std::vector<int32_t>>;  // tokens, targets
  static std::vector<Item> ItemsOf(const Batch& batch) {
    std::vector<Item> items;
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
      const auto cut = [&](const std::vector<int32_t>& values) {
        return std::vector<int32_t>(values.begin() + batch.cu_seqlens[s],
                                    values.begin() + batch.cu_seqlens[s + 1]);
      };
      items.emplace_back(cut(batch.token_ids_T), cut(batch.target_ids_T));
    }
    return items;
  }
  static void AddItems(const StatusOr<std::vector<EvaluationBatch>>& batches,
                       std::vector<Item>& items) {
    ASSERT_OK(batches);
    for (const EvaluationBatch& one : *batches)
      for (Item& item : ItemsOf(one.batch)) items.push_back(std::move(item));
  }
  static std::vector<Item> StepOf(Loader& loader, int64_t step, int ranks, int64_t micro_batch) {
    std::vector<Item> all;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto batches = loader.MicroBatches(step, rank, ranks, micro_batch);
      EXPECT_OK(batches);
      for (const Batch& batch : *batches)
        for (Item& item : ItemsOf(batch)) all.push_back(std::move(item));
    }
    return all;
  }

  const Folder folder_;
  const Masking masking_ = *Masking::Create(TestMaskingVocabulary(), {}, 9);
  const std::vector<std::shared_ptr<const TokenShard>> shards_ = {
      ShardOfLengths(folder_, {500, 3, 17, 1, 40, 9, 331, 60}, kFirstOrdinary)};
};

TEST_F(MaskedRows, AreTextsInTheTokenizersTemplate) {
  Loader loader = MakeLoader();
  for (int64_t step = 0; step < 6; ++step) {
    for (const auto& [tokens, targets] : StepOf(loader, step, 1, 12)) {
      ASSERT_GE(tokens.size(), 3u);
      ASSERT_LE(tokens.size(), 16u);
      EXPECT_EQ(tokens.front(), kTestClass);
      EXPECT_EQ(tokens.back(), 0);
      EXPECT_EQ(targets.front(), kNoTarget);
      EXPECT_EQ(targets.back(), kNoTarget);
      // Within a document tokens count up by one.
      for (size_t i = 1; i + 1 < tokens.size(); ++i) {
        const int32_t true_token = targets[i] == kNoTarget ? tokens[i] : targets[i];
        const int32_t before = targets[i - 1] == kNoTarget ? tokens[i - 1] : targets[i - 1];
        if (i > 1) {
          EXPECT_EQ(true_token, before + 1);
        }
      }
    }
  }
}

TEST_F(MaskedRows, AreTheSameForAnyRanksAndMicroBatchesAndAfterAResume) {
  Loader loader = MakeLoader();
  for (const int64_t step : {0, 1, 7, 1000}) {
    const std::vector<Item> expected = StepOf(loader, step, 1, 12);
    int64_t targets = 0;
    for (const auto& [tokens, targets_of_item] : expected)
      targets += static_cast<int64_t>(targets_of_item.size()) -
                 std::count(targets_of_item.begin(), targets_of_item.end(), kNoTarget);
    EXPECT_EQ(loader.TargetsInStep(step), targets);
    EXPECT_GE(targets, 12);  // one a row at least
    for (const int ranks : {1, 2, 5, 12})
      for (const int64_t micro_batch : {1, 5, 100})
        EXPECT_EQ(StepOf(loader, step, ranks, micro_batch), expected) << step;
    Loader fresh = MakeLoader();
    EXPECT_EQ(StepOf(fresh, step, 3, 2), expected);
  }
}

TEST_F(MaskedRows, HaveNewMasksEveryEpoch) {
  // A full piece is a row of its own in every epoch: which of its places are targets?
  Loader loader = MakeLoader();
  std::map<int32_t, std::set<std::vector<int32_t>>> masks;  // by the piece's second true token
  std::map<int32_t, int> times;
  for (int64_t step = 0; step < 40; ++step) {
    for (const auto& [tokens, targets] : StepOf(loader, step, 1, 12)) {
      if (tokens.size() != 16) continue;
      const int32_t first = targets[1] == kNoTarget ? tokens[1] : targets[1];
      masks[first].insert(targets);
      ++times[first];
    }
  }
  int repeated = 0;
  for (const auto& [first, seen] : masks) {
    EXPECT_GT(times[first], 4);
    repeated += times[first] - static_cast<int>(seen.size());
  }
  // Two masks of 14 places agree with a chance of (0.15^2 + 0.85^2)^14 = 1.6 %, or 2 % with the
  // rule of one at least; 65 pieces are seen about 7 times, 21 pairs each.
  EXPECT_LT(repeated, 65 * 21 * 0.04);
}

TEST_F(MaskedRows, OfValidationAreMaskedTheSameEachTimeAndForAnyChoice) {
  const EvaluationRows all = MakeRows(0), again = MakeRows(0), few = MakeRows(7);
  const auto items = [](const EvaluationRows& rows, int ranks, int64_t micro_batch) {
    std::vector<Item> found;
    for (int rank = 0; rank < ranks; ++rank)
      AddItems(rows.MicroBatches(rank, ranks, micro_batch), found);
    return found;
  };
  const std::vector<Item> expected = items(all, 1, 4);
  EXPECT_EQ(items(again, 3, 2), expected);
  for (const Item& item : items(few, 1, 1)) EXPECT_THAT(expected, testing::Contains(item));
  EXPECT_EQ(few.rows(), 7);
  EXPECT_TRUE(all.masked());
  EXPECT_EQ(all.source_bytes(), 0);
  int64_t targets = 0;
  for (const auto& [tokens, targets_of_item] : expected)
    targets += static_cast<int64_t>(targets_of_item.size()) -
               std::count(targets_of_item.begin(), targets_of_item.end(), kNoTarget);
  EXPECT_EQ(all.targets(), targets);
  // All tokens of these documents differ.
  EXPECT_DOUBLE_EQ(all.commonest_target_share(), 1.0 / static_cast<double>(targets));
}

TEST_F(MaskedRows, OneByOneMaskOnePlaceOfEachRow) {
  const EvaluationRows rows = MakeRows(20);
  std::vector<Item> one, three;
  AddItems(rows.SinglePlaces(0, 1, 100), one);
  for (int rank = 0; rank < 3; ++rank) AddItems(rows.SinglePlaces(rank, 3, 2), three);
  EXPECT_EQ(one.size(), 20u);
  EXPECT_EQ(one, three);
  for (const auto& [tokens, targets] : one) {
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), kTestMask), 1);
    EXPECT_EQ(std::count(targets.begin(), targets.end(), kNoTarget),
              static_cast<int64_t>(targets.size()) - 1);
    const auto at = std::find(tokens.begin(), tokens.end(), kTestMask) - tokens.begin();
    EXPECT_GE(targets[static_cast<size_t>(at)], kFirstOrdinary);
  }
  const auto causal = EvaluationRows::Create(shards_, 16, 0);
  ASSERT_OK(causal);
  EXPECT_THAT(causal->SinglePlaces(0, 1, 1),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("masked")));
}

TEST_F(MaskedRows, TheLoadersDigestNamesTheMasking) {
  const auto digest = [&](const Masking* masking) {
    return Loader::Create({{.shards = shards_}}, {.seed = 9, .max_length = 16, .masking = masking})
        ->digest();
  };
  const Masking other = *Masking::Create(TestMaskingVocabulary(), {.probability = 0.2}, 9);
  const Masking words = *Masking::Create(TestMaskingVocabulary(), {.whole_word = true}, 9);
  EXPECT_EQ(std::set({digest(nullptr), digest(&masking_), digest(&other), digest(&words)}).size(),
            4u);
}

TEST_F(MaskedRows, RefuseDocumentsWithoutText) {
  const auto empty = ShardOfLengths(folder_, {1, 1});
  EXPECT_THAT(Loader::Create({{.shards = {empty}}}, {.max_length = 16, .masking = &masking_}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.train[0]")));
  EXPECT_THAT(EvaluationRows::Create({empty}, 16, 0, &masking_),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.validation")));
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/data/loader.h"

#include <gmock/gmock.h>

#include <map>
#include <numeric>

#include "tests/support/status_matchers.h"
#include "tests/worker/data/shards.h"

namespace trainyard::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr LoaderOptions kOptions = {.seed = 9, .max_length = 16, .global_batch_size = 12};

// A batch cut into its segments: what the model sees, wherever the batch was divided.
struct Part {
  std::vector<int32_t> tokens, targets, positions;
  bool operator==(const Part&) const = default;
};
std::vector<Part> PartsOf(const std::vector<Batch>& batches) {
  std::vector<Part> parts;
  for (const Batch& batch : batches) {
    for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
      const auto cut = [&](const std::vector<int32_t>& values) {
        return std::vector<int32_t>(values.begin() + batch.cu_seqlens[s],
                                    values.begin() + batch.cu_seqlens[s + 1]);
      };
      parts.push_back({cut(batch.token_ids_T), cut(batch.target_ids_T), cut(batch.position_ids_T)});
    }
  }
  return parts;
}

class LoaderTest : public testing::Test {
 protected:
  Loader Make(const LoaderOptions& options = kOptions) {
    return *Loader::Create({{.shards = shards_}}, options);
  }
  // All ranks' parts of a step, in rank order.
  static std::vector<Part> StepOf(Loader& loader, int64_t step, int ranks, int64_t micro_batch) {
    std::vector<Part> parts;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto batches = loader.MicroBatches(step, rank, ranks, micro_batch);
      EXPECT_OK(batches);
      for (Part& part : PartsOf(*batches)) parts.push_back(std::move(part));
    }
    return parts;
  }

  const Folder folder_;
  std::vector<std::shared_ptr<const TokenShard>> shards_ = {
      ShardOfLengths(folder_, {500, 3, 17, 40}), ShardOfLengths(folder_, {9, 331, 60}, 1000)};
};

TEST_F(LoaderTest, PredictsEachTokenFromTheOneBeforeIt) {
  Loader loader = Make();
  ASSERT_OK_AND_ASSIGN(const auto batches, loader.MicroBatches(0, 0, 1, 12));
  ASSERT_EQ(batches.size(), 1u);
  const Batch& batch = batches[0];
  EXPECT_EQ(batch.tokens(), 12 * 16);
  EXPECT_EQ(batch.targets(), loader.TargetsInStep(0));
  EXPECT_EQ(batch.cu_seqlens.front(), 0);
  EXPECT_EQ(batch.cu_seqlens.back(), 12 * 16);
  for (const Part& part : PartsOf(batches)) {
    for (size_t i = 0; i < part.tokens.size(); ++i) {
      EXPECT_EQ(part.positions[i], static_cast<int32_t>(i));
      if (i > 0) {
        EXPECT_EQ(part.tokens[i], part.targets[i - 1]);
      }
      // Tokens count up within a document: what follows is one more, or the end.
      const int32_t token = part.tokens[i], target = part.targets[i];
      if (token != kTestEnd && target != kTestEnd) {
        EXPECT_EQ(target, token + 1);
      }
      // The end is only read where a document begins.
      if (token == kTestEnd) {
        EXPECT_EQ(i, 0u);
      }
    }
  }
}

TEST_F(LoaderTest, MakesEveryTokenATargetOnceInAnEpoch) {
  // 960 tokens: 60 rows, 5 steps.
  Loader loader = Make();
  ASSERT_EQ(loader.tokens_per_epoch(), 960);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::map<int32_t, int> times;
    for (int64_t step = 5 * epoch; step < 5 * epoch + 5; ++step)
      for (const Part& part : StepOf(loader, step, 1, 4))
        for (const int32_t target : part.targets) ++times[target];
    EXPECT_EQ(times[kTestEnd], 7);  // one end per document
    times.erase(kTestEnd);
    EXPECT_EQ(times.size(), 953u);
    for (const auto& [token, count] : times) EXPECT_EQ(count, 1) << token;
  }
}

TEST_F(LoaderTest, HasTheSameRowsForAnyRanksAndMicroBatches) {
  Loader loader = Make();
  for (const int64_t step : {0, 1, 7, 1000}) {
    const std::vector<Part> expected = StepOf(loader, step, 1, 12);
    for (const int ranks : {1, 2, 3, 5, 12})
      for (const int64_t micro_batch : {1, 2, 5, 100})
        EXPECT_EQ(StepOf(loader, step, ranks, micro_batch), expected)
            << "step " << step << ", " << ranks << " ranks, micro-batch " << micro_batch;
  }
}

TEST_F(LoaderTest, ResumesByTheStepNumberAlone) {
  Loader first = Make();
  std::vector<std::vector<Part>> steps;
  for (int64_t step = 0; step < 40; ++step) steps.push_back(StepOf(first, step, 2, 3));
  for (const int64_t step : {39, 17, 0, 5}) {
    Loader fresh = Make();
    EXPECT_EQ(StepOf(fresh, step, 2, 3), steps[static_cast<size_t>(step)]);
    EXPECT_EQ(fresh.digest(), first.digest());
  }
}

TEST_F(LoaderTest, ReportsWhereItStands) {
  Loader loader = Make();
  const LoaderPosition start = loader.PositionBefore(0)[0];
  EXPECT_EQ(start.epoch, 0);
  EXPECT_EQ(start.item, 0);
  EXPECT_EQ(start.items, 60);
  const LoaderPosition later = loader.PositionBefore(7)[0];  // row 84
  EXPECT_EQ(later.epoch, 1);
  EXPECT_EQ(later.item, 24);
}

TEST_F(LoaderTest, ItsDigestNamesAllThatRowsDependOn) {
  const std::string digest = Make().digest();
  EXPECT_NE(Make({.seed = 8, .max_length = 16, .global_batch_size = 12}).digest(), digest);
  EXPECT_NE(Make({.seed = 9, .max_length = 8, .global_batch_size = 12}).digest(), digest);
  EXPECT_NE(Make({.seed = 9, .max_length = 16, .global_batch_size = 6}).digest(), digest);
  std::swap(shards_[0], shards_[1]);
  EXPECT_NE(Make().digest(), digest);
}

TEST_F(LoaderTest, MixesSourcesByWeight) {
  ASSERT_OK_AND_ASSIGN(Loader loader, Loader::Create({{.shards = {shards_[0]}, .weight = 3},
                                                      {.shards = {shards_[1]}, .weight = 1}},
                                                     kOptions));
  std::map<bool, int64_t> rows;                    // from the second source?
  for (int64_t step = 0; step < 4096 / 4; ++step)  // three whole blocks
    for (const Part& part : StepOf(loader, step, 1, 12))
      rows[part.targets.back() >= 1000 || part.tokens.back() >= 1000] +=
          static_cast<int64_t>(part.targets.size());
  EXPECT_EQ(rows[false], 3 * 3072 * 16);
  EXPECT_EQ(rows[true], 3 * 1024 * 16);
  const auto positions = loader.PositionBefore(4096 / 12 * 3);
  EXPECT_EQ(positions.size(), 2u);
}

TEST_F(LoaderTest, RefusesWhatCannotBe) {
  const auto refused = [&](const LoaderOptions& options, double weight = 1) {
    return Loader::Create({{.shards = shards_, .weight = weight}}, options).status();
  };
  EXPECT_THAT(refused({.max_length = 0}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("max_length")));
  EXPECT_THAT(refused({.global_batch_size = 0}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("global_batch_size")));
  EXPECT_THAT(refused({}, -1), StatusIs(StatusCode::kInvalidArgument, HasSubstr("weight")));
  EXPECT_THAT(Loader::Create({{.shards = {}}}, kOptions),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.train[0]")));
  Loader loader = Make();
  EXPECT_THAT(loader.MicroBatches(0, 0, 13, 1),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("fewer rows than the 13 ranks")));
  EXPECT_THAT(loader.MicroBatches(-1, 0, 1, 1),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("step -1")));
  EXPECT_THAT(loader.MicroBatches(0, 2, 2, 1),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("rank 2")));
}

TEST_F(LoaderTest, RefusesShardsOfDifferentTokenizers) {
  WriteShard(folder_.path() / "other.tok", {{1, 2, 3}}, TestVocabulary(500));
  ASSERT_OK_AND_ASSIGN(const auto other, TokenShard::Open(folder_.path() / "other.tok"));
  EXPECT_THAT(Loader::Create({{.shards = {shards_[0]}}, {.shards = {other}}}, kOptions),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("different tokenizers")));
}

TEST(Mixture, GivesEachSourceItsShareAndNoneNothing) {
  auto mixture = Mixture::Create({1000.0, 1.0, 1e-9, 500.0}, 3);
  ASSERT_OK(mixture);
  EXPECT_EQ(mixture->rows_per_block(2), 1);
  int64_t rows = 0;
  for (int32_t s = 0; s < 4; ++s) rows += mixture->rows_per_block(s);
  EXPECT_EQ(rows, Mixture::kBlockRows);
  EXPECT_NEAR(static_cast<double>(mixture->rows_per_block(0)), 4096 / 1.501, 2);
}

TEST(Mixture, CountsEachSourcesRowsWithoutGaps) {
  auto mixture = Mixture::Create({2, 1, 1}, 3);
  ASSERT_OK(mixture);
  std::vector<int64_t> next(3, 0);
  for (int64_t row = 0; row < 3 * Mixture::kBlockRows; ++row) {
    for (int32_t s = 0; s < 3 && row % 997 == 0; ++s)
      EXPECT_EQ(mixture->RowsOf(s, row), next[static_cast<size_t>(s)]) << row;
    const SourceRow at = mixture->At(row);
    EXPECT_EQ(at.row, next[static_cast<size_t>(at.source)]++) << row;
  }
}

TEST(RowsOfRank, DividesAllRowsWithoutOverlap) {
  for (const int ranks : {1, 2, 3, 7, 12}) {
    int64_t next = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto [begin, end] = RowsOfRank(12, rank, ranks);
      EXPECT_EQ(begin, next);
      next = end;
    }
    EXPECT_EQ(next, 12);
  }
}

}  // namespace
}  // namespace trainyard::worker

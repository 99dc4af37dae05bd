#include "worker/data/evaluation_rows.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/support/status_matchers.h"
#include "tests/worker/data/shards.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

struct Seen {
  std::vector<int32_t> targets;
  double source_bytes = 0;
};
Seen AllOf(const EvaluationRows& rows, int ranks, int64_t micro_batch_rows) {
  Seen seen;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto batches = rows.MicroBatches(rank, ranks, micro_batch_rows);
    EXPECT_OK(batches);
    for (const EvaluationBatch& one : *batches) {
      seen.targets.insert(seen.targets.end(), one.batch.target_ids_T.begin(),
                          one.batch.target_ids_T.end());
      seen.source_bytes += one.source_bytes;
    }
  }
  return seen;
}

TEST(EvaluationRows, CoverEveryTargetOnceAndAllBytes) {
  const Folder folder;
  const auto shard = ShardOfLengths(folder, {37, 5, 100, 2});  // 144 tokens, 4 of them ends
  ASSERT_OK_AND_ASSIGN(const auto rows, EvaluationRows::Create({shard}, 16, 0));
  EXPECT_EQ(rows.rows(), 9);  // 2 + 6 full, 5 + 5 + 4 + 2 short tokens
  EXPECT_EQ(rows.targets(), 144);
  EXPECT_EQ(rows.source_bytes(), 280);
  const Seen seen = AllOf(rows, 1, 4);
  std::map<int32_t, int> times;
  for (const int32_t target : seen.targets) ++times[target];
  EXPECT_EQ(times[kTestEnd], 4);
  EXPECT_EQ(times.size(), 141u);
  EXPECT_EQ(seen.targets.size(), 144u);
  EXPECT_EQ(seen.source_bytes, 280);
}

TEST(EvaluationRows, AreTheSameForAnyRanksAndMicroBatches) {
  const Folder folder;
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       EvaluationRows::Create({ShardOfLengths(folder, {37, 5, 100, 3})}, 16, 7));
  const Seen one = AllOf(rows, 1, 100);
  for (const int ranks : {2, 3, 20}) {
    for (const int64_t micro_batch : {1, 2, 9}) {
      const Seen seen = AllOf(rows, ranks, micro_batch);
      EXPECT_EQ(seen.targets, one.targets);
      EXPECT_EQ(seen.source_bytes, one.source_bytes);
    }
  }
  EXPECT_EQ(static_cast<int64_t>(one.targets.size()), rows.targets());
  EXPECT_EQ(one.source_bytes, rows.source_bytes());
}

TEST(EvaluationRows, AChoiceIsSpreadOverTheData) {
  const Folder folder;
  ASSERT_OK_AND_ASSIGN(const auto rows,
                       EvaluationRows::Create({ShardOfLengths(folder, {1600})}, 16, 4));
  EXPECT_EQ(rows.rows(), 4);
  EXPECT_EQ(rows.all_rows(), 100);
  const Seen seen = AllOf(rows, 1, 1);
  ASSERT_EQ(seen.targets.size(), 64u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(seen.targets[16 * i], static_cast<int32_t>(400 * i + 1));
  EXPECT_EQ(seen.source_bytes, 128);
}

TEST(EvaluationRows, SharesOutBytesThatTokensDoNotAddUpTo) {
  const Folder folder;
  auto writer = TokenShardWriter::Create(folder.path() / "a.tok", TestVocabulary());
  ASSERT_OK(writer);
  ASSERT_OK((*writer)->Append(std::vector<int32_t>{1, 2, 3, 4}));  // 8 bytes by their sizes
  ASSERT_OK((*writer)->EndItem(12));
  ASSERT_OK((*writer)->Finish());
  ASSERT_OK_AND_ASSIGN(const auto shard, TokenShard::Open(folder.path() / "a.tok"));
  ASSERT_OK_AND_ASSIGN(const auto all, EvaluationRows::Create({shard}, 2, 0));
  EXPECT_DOUBLE_EQ(all.source_bytes(), 12);
  ASSERT_OK_AND_ASSIGN(const auto first, EvaluationRows::Create({shard}, 2, 1));
  EXPECT_DOUBLE_EQ(first.source_bytes(), 6);
}

TEST(EvaluationRows, RefuseNothingToEvaluate) {
  EXPECT_THAT(EvaluationRows::Create({}, 16, 0),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("data.validation")));
}

}  // namespace
}  // namespace trainyard::worker

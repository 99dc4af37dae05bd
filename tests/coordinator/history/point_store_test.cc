#include "coordinator/history/point_store.h"

#include <gmock/gmock.h>

#include <fstream>

#include "coordinator/history/history.h"
#include "coordinator/history/newest_metrics.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Point At(int64_t step, const std::string& name = "loss", AttemptNumber attempt = 1) {
  return {attempt, 0, step, name, static_cast<double>(step) / 2, 1.7e9};
}

class Points : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() {
    history_.reset();
    auto opened = History::Open(folder_.path(), {.points = {.open_files_max = 2, .series_max = 5}});
    ASSERT_OK(opened);
    history_ = *std::move(opened);
  }
  std::vector<Point> All() {
    auto page = history_->points().Read(job_, 0, 1 << 20);
    EXPECT_OK(page);
    return page.ok() ? page->points : std::vector<Point>();
  }
  std::filesystem::path File() const { return folder_.path() / job_.value / "metrics.points"; }
  std::string Bytes() const { return *ReadFile(File()); }

  TempFolder folder_;
  std::unique_ptr<History> history_;
  const JobId job_{"j-1"};
};

TEST_F(Points, ComeBackAsTheyWent) {
  const std::vector<Point> points = {At(1), At(1, "grad_norm"), At(2), At(3, "a/b c")};
  ASSERT_OK(history_->points().Append(job_, points));
  EXPECT_EQ(All(), points);
}

TEST_F(Points, TheNewestAreReadFromTheEndOfTheFile) {
  EXPECT_THAT(*history_->points().Newest(job_, 1 << 10), SizeIs(0));
  for (int64_t step = 1; step <= 100; ++step) {
    ASSERT_OK(history_->points().Append(job_, {At(step), At(step, "grad_norm")}));
  }
  const auto newest = history_->points().Newest(job_, 1'000);
  ASSERT_OK(newest);
  EXPECT_THAT(newest->size(), testing::AllOf(testing::Gt(2u), testing::Lt(100u)));
  EXPECT_EQ(newest->back(), At(100, "grad_norm"));
  EXPECT_EQ(*history_->points().Newest(job_, 1 << 20), All()) << "a file smaller than that: all";
}

TEST_F(Points, WhatAJobLastSaidIsOfTheFirstRanksNewestAttempt) {
  Point other_rank = At(9, "loss", 2);
  other_rank.rank = 1;
  const NewestMetrics newest = NewestOf(
      {At(8), At(9), At(4, "loss", 2), At(5, "loss", 2), At(4, "eval_loss", 2), other_rank});
  EXPECT_EQ(newest.step, 5);
  EXPECT_EQ(newest.values, (std::map<std::string, double>{{"loss", 2.5}, {"eval_loss", 2.0}}));
  EXPECT_EQ(NewestOf({}).step, -1);
}

TEST_F(Points, SentAgainAreKeptOnce) {
  ASSERT_OK(history_->points().Append(job_, {At(1), At(2), At(2)}));
  ASSERT_OK(history_->points().Append(job_, {At(1), At(2), At(3)}));
  Reopen();
  ASSERT_OK(history_->points().Append(job_, {At(2), At(3), At(4)}));
  EXPECT_EQ(All(), (std::vector<Point>{At(1), At(2), At(3), At(4)}));
}

TEST_F(Points, OfALaterAttemptStandBesideThoseOfTheFirst) {
  ASSERT_OK(history_->points().Append(job_, {At(1), At(2)}));
  ASSERT_OK(history_->points().Append(job_, {At(2, "loss", 2)}));
  EXPECT_EQ(All(), (std::vector<Point>{At(1), At(2), At(2, "loss", 2)}));
}

TEST_F(Points, ATornTailIsDroppedAtEveryByte) {
  ASSERT_OK(history_->points().Append(job_, {At(1)}));
  const size_t first = Bytes().size();
  ASSERT_OK(history_->points().Append(job_, {At(2)}));
  const std::string whole = Bytes();
  for (size_t cut = first; cut < whole.size(); ++cut) {
    history_.reset();
    std::ofstream(File(), std::ios::binary) << whole.substr(0, cut);
    Reopen();
    EXPECT_EQ(All(), std::vector<Point>{At(1)}) << "cut at " << cut;
    ASSERT_OK(history_->points().Append(job_, {At(2), At(3)}));
    EXPECT_EQ(All(), (std::vector<Point>{At(1), At(2), At(3)})) << "cut at " << cut;
  }
}

TEST_F(Points, ADamagedBlockCostsOnlyItself) {
  ASSERT_OK(history_->points().Append(job_, {At(1)}));
  const size_t first = Bytes().size();
  ASSERT_OK(history_->points().Append(job_, {At(2)}));
  ASSERT_OK(history_->points().Append(job_, {At(3)}));
  std::string bytes = Bytes();
  bytes[first + kBlockHeaderBytes + 20] ^= 1;
  history_.reset();
  std::ofstream(File(), std::ios::binary) << bytes;
  Reopen();
  ASSERT_OK(history_->points().Append(job_, {At(4)}));
  EXPECT_EQ(All(), (std::vector<Point>{At(1), At(3), At(4)}));
}

TEST_F(Points, AreReadOnFromWhereThePageEnded) {
  ASSERT_OK(history_->points().Append(job_, {At(1), At(2)}));
  ASSERT_OK_AND_ASSIGN(const PointPage first, history_->points().Read(job_, 0, 1 << 20));
  ASSERT_OK_AND_ASSIGN(const PointPage none,
                       history_->points().Read(job_, first.next_offset, 1 << 20));
  EXPECT_THAT(none.points, SizeIs(0));
  EXPECT_EQ(none.next_offset, first.next_offset);
  ASSERT_OK(history_->points().Append(job_, {At(3)}));
  ASSERT_OK_AND_ASSIGN(const PointPage next,
                       history_->points().Read(job_, first.next_offset, 1 << 20));
  EXPECT_THAT(next.points, ElementsAre(At(3)));
}

TEST_F(Points, AreRefusedPastTheBounds) {
  for (int i = 0; i < 5; ++i)
    ASSERT_OK(history_->points().Append(job_, {At(1, "m" + std::to_string(i))}));
  EXPECT_THAT(history_->points().Append(job_, {At(1, "m5")}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("series")));
  EXPECT_THAT(history_->points().Append(job_, {At(1, "")}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("name")));
  EXPECT_THAT(history_->points().Append(job_, {At(1, std::string(201, 'x'))}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("201")));
  EXPECT_THAT(history_->points().Append(JobId{"../x"}, {At(1)}),
              StatusIs(StatusCode::kInvalidArgument, testing::_));
}

TEST_F(Points, OfManyJobsShareFewOpenFiles) {
  for (int step = 1; step <= 3; ++step)
    for (int j = 0; j < 5; ++j)
      ASSERT_OK(history_->points().Append(JobId{"job" + std::to_string(j)}, {At(step)}));
  for (int j = 0; j < 5; ++j)
    EXPECT_THAT(history_->points().Read(JobId{"job" + std::to_string(j)}, 0, 1 << 20)->points,
                ElementsAre(At(1), At(2), At(3)));
}

TEST_F(Points, FillMoreThanOneBlock) {
  std::vector<Point> many;
  for (int64_t step = 1; step <= 10'000; ++step) many.push_back(At(step));
  ASSERT_OK(history_->points().Append(job_, many));
  EXPECT_EQ(All(), many);
}

TEST(PointBlock, NoByteFlipGoesUnseen) {
  const std::string block = EncodeBlock({At(1), At(2, "grad_norm")});
  for (size_t i = 0; i < block.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = block;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      size_t size = 0;
      std::vector<Point> points;
      EXPECT_NE(DecodeBlock(bad, &size, &points), BlockState::kGood) << "byte " << i;
      EXPECT_THAT(points, SizeIs(0));
    }
}

TEST(Undone, AreTheStepsAfterTheOneALaterAttemptResumedFrom) {
  const UndoneSteps undone({{1, -1}, {2, 100}, {3, 50}});
  EXPECT_FALSE(undone.IsUndone(1, 50));
  EXPECT_TRUE(undone.IsUndone(1, 51));  // the third attempt went back behind the second
  EXPECT_FALSE(undone.IsUndone(2, 50));
  EXPECT_TRUE(undone.IsUndone(2, 101));
  EXPECT_FALSE(undone.IsUndone(3, 1'000'000));
}

TEST(Undone, IsEverythingWhenTheNextAttemptBeganAtTheBeginning) {
  const UndoneSteps undone({{1, -1}, {2, -1}});
  EXPECT_TRUE(undone.IsUndone(1, 1));
  EXPECT_FALSE(undone.IsUndone(2, 1));
}

TEST(Filter, TakesNamesAndLaterSteps) {
  EXPECT_TRUE(Passes({}, At(0)));
  EXPECT_FALSE(Passes({.after_step = 5}, At(5)));
  EXPECT_TRUE(Passes({.after_step = 5}, At(6)));
  EXPECT_FALSE(Passes({.names = {"kl"}}, At(6)));
}

TEST(Thinned, KeepsEachSeriesWithinItsBoundAndItsEnds) {
  for (const int64_t most : {1, 2, 3, 7, 100, 999}) {
    for (const int64_t count : {1, 2, 5, 99, 100, 101, 1000}) {
      Thinning thinning(most);
      for (int64_t i = 0; i < count; ++i) thinning.Count(At(i));
      thinning.Count(At(1, "rare"));
      std::vector<int64_t> kept;
      for (int64_t i = 0; i < count; ++i)
        if (thinning.Keep(At(i))) kept.push_back(i);
      EXPECT_LE(kept.size(), static_cast<size_t>(most)) << most << " of " << count;
      // One fewer where the last point is also the first of its part.
      EXPECT_GE(kept.size() + 1, static_cast<size_t>(std::min(most, count)))
          << most << " of " << count;
      EXPECT_EQ(kept.back(), count - 1);
      EXPECT_TRUE(thinning.Keep(At(1, "rare")));
      EXPECT_TRUE(thinning.Keep(At(count))) << "what comes later goes through";
    }
  }
}

}  // namespace
}  // namespace trainyard::coordinator

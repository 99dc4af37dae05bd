#include "worker/data/row_plan.h"

#include <gmock/gmock.h>

#include <map>
#include <numeric>

namespace trainyard::worker {
namespace {

using testing::ElementsAre;

std::vector<int64_t> EndsOf(std::vector<int64_t> lengths) {
  std::partial_sum(lengths.begin(), lengths.end(), lengths.begin());
  return lengths;
}

// How often each token is a target in rows [begin, end).
std::map<int64_t, int64_t> TimesSeen(RowPlan& plan, int64_t begin, int64_t end) {
  std::map<int64_t, int64_t> times;
  for (int64_t row = begin; row < end; ++row)
    for (const Segment& segment : plan.Row(row))
      for (int64_t i = 0; i < segment.count; ++i) ++times[segment.begin + i];
  return times;
}

TEST(Pieces, CutsLongItemsIntoFullPiecesAndARest) {
  const Pieces pieces(EndsOf({10, 3, 8}), 4);  // 4+4+2, 3, 4+4
  EXPECT_EQ(pieces.full_count(), 4);
  EXPECT_EQ(pieces.Full(0), (Segment{0, 4}));
  EXPECT_EQ(pieces.Full(1), (Segment{4, 4}));
  EXPECT_EQ(pieces.Full(2), (Segment{13, 4}));
  EXPECT_EQ(pieces.Full(3), (Segment{17, 4}));
  EXPECT_EQ(pieces.short_count(), 2);
  EXPECT_EQ(pieces.Short(0), (Segment{8, 2}));
  EXPECT_EQ(pieces.Short(1), (Segment{10, 3}));
  EXPECT_EQ(pieces.short_places(), 5);
  EXPECT_EQ(pieces.ItemOf(9), 0);
  EXPECT_EQ(pieces.ItemOf(10), 1);
}

TEST(ShortStretch, CutsPiecesAtARowsEdge) {
  const Pieces pieces(EndsOf({10, 3, 8}), 4);
  const ShortStretch stretch(pieces, {1, 0});  // tokens 10 11 12 8 9
  std::vector<Segment> segments;
  stretch.AppendSegments(1, 5, segments);
  EXPECT_THAT(segments, ElementsAre(Segment{11, 2}, Segment{8, 2}));
}

TEST(Pieces, LeaveRoomForWhatStandsAroundThem) {
  // Rows of 6 places, 2 of them around the text, ends not read: 4 tokens a full piece.
  const Pieces pieces(EndsOf({11, 4, 1, 9}), {.length = 6, .around = 2, .without_end = true});
  EXPECT_EQ(pieces.full_count(), 4);  // 4 + 4 + 2, 3, nothing, 4 + 4
  EXPECT_EQ(pieces.Full(1), (Segment{4, 4}));
  EXPECT_EQ(pieces.Full(2), (Segment{16, 4}));
  EXPECT_EQ(pieces.short_count(), 2);
  EXPECT_EQ(pieces.Short(0), (Segment{8, 2}));
  EXPECT_EQ(pieces.Short(1), (Segment{11, 3}));
  EXPECT_EQ(pieces.short_places(), 2 + 2 + 3 + 2);
  EXPECT_EQ(pieces.places(), 4 * 6 + 9);
}

TEST(Pieces, OfItemsThatHoldNothingButTheirEndAreNone) {
  EXPECT_TRUE(Pieces(EndsOf({1, 1}), {.length = 6, .around = 2, .without_end = true}).empty());
  EXPECT_FALSE(Pieces(EndsOf({1, 1}), 6).empty());
}

TEST(ShortStretch, PartsOfACutPieceHaveTheirSurroundingsEach) {
  // Two pieces of 5 tokens between 2 others: places 0 to 6 and 7 to 13.
  const Pieces pieces(EndsOf({5, 5}), {.length = 10, .around = 2});
  const ShortStretch stretch(pieces, {0, 1});
  const auto segments = [&](int64_t begin, int64_t end) {
    std::vector<Segment> found;
    stretch.AppendSegments(begin, end, found);
    return found;
  };
  EXPECT_THAT(segments(0, 10), ElementsAre(Segment{0, 5}, Segment{5, 1}));  // 10 - 7 - 2 = 1
  EXPECT_THAT(segments(10, 14), ElementsAre(Segment{8, 2}));                // 4 - 2 = 2, the last
  EXPECT_THAT(segments(0, 9), ElementsAre(Segment{0, 5}));  // 9 - 7 - 2 = 0: no room
}

TEST(RowPlan, RowsWithSurroundingsAreAsLongAndHaveEveryTokenButThoseAtCuts) {
  const std::vector<int64_t> lengths = {100, 9, 33, 1, 64, 2, 2, 2, 17};  // 221 without the ends
  RowPlan plan(Pieces(EndsOf(lengths), {.length = 16, .around = 2, .without_end = true}), 3, 0);
  // Full pieces of 14: 7 + 2 + 4 + 1 = 14. Short: 1 + 8 + 4 + 7 + 1 + 1 + 1 + 2 = 25, and 8 x 2
  // around.
  EXPECT_EQ(plan.places_per_epoch(), 14 * 16 + 25 + 16);
  for (int64_t row = 0; row < 300; ++row) {
    int64_t places = 0;
    const auto segments = plan.Row(row);
    for (const Segment& segment : segments) {
      EXPECT_GT(segment.count, 0);
      places += segment.count + 2;
    }
    EXPECT_LE(places, 16);
    EXPECT_GE(places, 16 - 2 - 2);  // a part at either edge may have had room for nothing
  }
  const int64_t epochs = 16, rows = plan.RowsBefore(epochs);
  const auto times = TimesSeen(plan, 0, rows);
  int64_t seen = 0;
  for (const auto& [token, count] : times) {
    EXPECT_LE(count, epochs) << token;
    seen += count;
  }
  // Each cut costs 2 tokens at most, each row has one cut at most; the last row's tail is missing.
  const int64_t short_rows = rows - 14 * epochs;
  EXPECT_GE(seen, (14 * 14 + 25) * epochs - 2 * short_rows - 16);
  EXPECT_LE(seen, (14 * 14 + 25) * epochs);
}

TEST(RowPlan, MakesEveryTokenATargetExactlyOnceInAnEpoch) {
  // 2 full pieces of 8 and short ones of 4 + 5 + 7 = 16 tokens: 2 + 2 rows of 8.
  RowPlan plan(Pieces(EndsOf({12, 8, 5, 7}), 8), /*seed=*/1, /*source=*/0);
  EXPECT_EQ(plan.RowsBefore(1), 4);
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    const auto times = TimesSeen(plan, 4 * epoch, 4 * epoch + 4);
    EXPECT_EQ(times.size(), 32u);
    for (const auto& [token, count] : times) EXPECT_EQ(count, 1) << token;
  }
}

TEST(RowPlan, EveryRowIsFullAndPiecesAreNotCutThatFillOne) {
  RowPlan plan(Pieces(EndsOf({100, 9, 33, 1, 64}), 16), 3, 0);
  for (int64_t row = 0; row < 200; ++row) {
    int64_t tokens = 0;
    const auto segments = plan.Row(row);
    for (const Segment& segment : segments) tokens += segment.count;
    EXPECT_EQ(tokens, 16) << row;
  }
}

TEST(RowPlan, OverManyEpochsNoTokenFallsBehindOrAhead) {
  const std::vector<int64_t> lengths = {100, 9, 33, 1, 64, 2, 2, 2, 17};
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  RowPlan plan(Pieces(EndsOf(lengths), 16), 3, 0);
  for (const int64_t epochs : {1, 2, 7, 16}) {
    const int64_t rows = plan.RowsBefore(epochs);
    EXPECT_EQ(rows, tokens * epochs / 16);
    const auto times = TimesSeen(plan, 0, rows);
    int64_t missing = 0;
    for (int64_t token = 0; token < tokens; ++token) {
      const int64_t count = times.contains(token) ? times.at(token) : 0;
      EXPECT_TRUE(count == epochs || count == epochs - 1) << token;
      missing += epochs - count;
    }
    EXPECT_EQ(missing, tokens * epochs % 16);  // the tail that fills no row
  }
}

TEST(RowPlan, AnswersInAnyOrder) {
  const Pieces pieces(EndsOf({40, 9, 33, 1, 64, 2, 5}), 8);
  RowPlan forward(pieces, 5, 2), backward(pieces, 5, 2);
  std::vector<std::vector<Segment>> rows;
  for (int64_t row = 0; row < 300; ++row) rows.push_back(forward.Row(row));
  for (int64_t row = 299; row >= 0; --row)
    EXPECT_EQ(backward.Row(row), rows[static_cast<size_t>(row)]) << row;
}

TEST(RowPlan, OrdersDifferByEpochSeedAndSource) {
  const Pieces pieces(EndsOf({1024}), 8);
  RowPlan plan(pieces, 5, 0), other_seed(pieces, 6, 0), other_source(pieces, 5, 1);
  const auto order = [](RowPlan& of, int64_t epoch) {
    std::vector<int64_t> begins;
    for (int64_t row = 0; row < 128; ++row) begins.push_back(of.Row(128 * epoch + row)[0].begin);
    return begins;
  };
  EXPECT_NE(order(plan, 0), order(plan, 1));
  EXPECT_NE(order(plan, 0), order(other_seed, 0));
  EXPECT_NE(order(plan, 0), order(other_source, 0));
}

TEST(RowPlan, FillsRowsFromTextShorterThanARow) {
  RowPlan plan(Pieces(EndsOf({2, 1}), 8), 5, 0);
  const auto times = TimesSeen(plan, 0, 3);  // 24 tokens: 8 passes of 3
  EXPECT_THAT(times, ElementsAre(std::pair(0, 8), std::pair(1, 8), std::pair(2, 8)));
  EXPECT_EQ(plan.Locate(0).epoch, 2);  // the row is complete in the third pass
}

}  // namespace
}  // namespace trainyard::worker

// Which tokens stand in which row: arithmetic on item lengths, no token is read here.
//
// L = max_length. An item (document) longer than L is cut from its beginning into full pieces of L
// tokens and a short rest; a shorter item is a short piece as it is.
//   * A full piece is a row by itself, so that its last token sees L - 1 others.
//   * Short pieces are shuffled and laid end to end; every L tokens of that are a row. Such a row
//   holds
//     several segments and attention does not cross them; a piece at a row's edge is cut in two.
//   * The rows of an epoch are shuffled.
// Every row has exactly L targets: no padding. Every token is a target exactly once in an epoch;
// only the tail of the short pieces that fills no row (less than L tokens) moves on to the next
// epoch's first short row, so that after n epochs no token was a target more or less than n times,
// that tail aside. Everything is a function of (rng, source index, row): there is no state to save.
//
// Where a segment stands between other tokens (RowShape::around: a tokenizer's [CLS] and [SEP]),
// these take places of the row too: a full piece has L - around tokens, and the two parts of a
// piece that is cut at a row's edge have them each, in the place of as many tokens, which no row of
// this epoch has; a part that has room for nothing else is left out.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "common/rng.h"
#include "worker/data/token_source.h"

namespace trainyard::worker {

// What a row is made of.
struct RowShape {
  int64_t length = 0;        // places; above twice `around`
  int64_t around = 0;        // places that each segment takes beside its tokens
  bool without_end = false;  // items are read without their last token, the end of text
};

// What items of these lengths become.
class Pieces {
 public:
  // `item_ends`: strictly increasing, the first item begins at 0.
  Pieces(std::vector<int64_t> item_ends, const RowShape& shape);
  Pieces(std::vector<int64_t> item_ends, int64_t max_length)
      : Pieces(std::move(item_ends), RowShape{.length = max_length}) {}
  int64_t max_length() const { return shape_.length; }
  int64_t around() const { return shape_.around; }
  bool empty() const { return full_count() + short_count() == 0; }
  int64_t full_count() const { return full_before_.back(); }
  int64_t short_count() const { return static_cast<int64_t>(short_items_.size()); }
  int64_t short_places() const { return short_places_; }  // what surrounds them included
  int64_t places() const { return full_count() * max_length() + short_places(); }
  Segment Full(int64_t piece) const;   // in item order
  Segment Short(int64_t piece) const;  // in item order
  int64_t ItemOf(int64_t token) const;

 private:
  int64_t ItemBegin(int64_t item) const {
    return item == 0 ? 0 : item_ends_[static_cast<size_t>(item) - 1];
  }
  // One past the last token of the item that is read.
  int64_t ReadEnd(int64_t item) const {
    return item_ends_[static_cast<size_t>(item)] - (shape_.without_end ? 1 : 0);
  }
  std::vector<int64_t> item_ends_;    // [items]
  std::vector<int64_t> full_before_;  // [items + 1] full pieces of earlier items
  std::vector<int64_t> short_items_;  // items that have a short piece
  RowShape shape_;
  int64_t full_tokens_;  // of a full piece
  int64_t short_places_ = 0;
};

// Short pieces in some order, end to end.
class ShortStretch {
 public:
  ShortStretch(const Pieces& pieces, const std::vector<int64_t>& order);
  // Segments that cover the places [begin, end) of the stretch.
  void AppendSegments(int64_t begin, int64_t end, std::vector<Segment>& segments) const;

 private:
  int64_t around_;
  std::vector<Segment> pieces_;
  std::vector<int64_t> ends_;  // [pieces] one past the piece's last place in the stretch
};

struct EpochRow {
  int64_t epoch = 0;
  int64_t row = 0;   // in the epoch's order
  int64_t rows = 0;  // in that epoch
};

// The endless sequence of training rows of one source. Keeps the orders of the last few epochs it
// was asked about (16 bytes per row and short piece), so it is cheap when rows are asked for in
// order and right in any order. Not thread-safe.
class RowPlan {
 public:
  // The pieces must not be empty. `source` (below 2^16) makes two sources of the same job differ in
  // order.
  RowPlan(Pieces pieces, uint64_t seed, uint32_t source);
  // Rows of all epochs before this one.
  int64_t RowsBefore(int64_t epoch) const;
  EpochRow Locate(int64_t row) const;
  // Places of one epoch.
  int64_t places_per_epoch() const { return pieces_.places(); }
  // The row's segments, together L places (or a few less, see above). At least one.
  std::vector<Segment> Row(int64_t row);

 private:
  const std::vector<int64_t>& RowOrder(int64_t epoch, int64_t rows);
  const ShortStretch& Shorts(int64_t epoch);
  const Pieces pieces_;
  const Rng rng_;
  const uint32_t source_;
  std::deque<std::pair<int64_t, std::vector<int64_t>>> row_orders_;  // newest last, few
  std::deque<std::pair<int64_t, ShortStretch>> stretches_;           // newest last, few
};

}  // namespace trainyard::worker

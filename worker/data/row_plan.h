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
#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "common/rng.h"
#include "worker/data/token_source.h"

namespace trainyard::worker {

// What items of these lengths become.
class Pieces {
 public:
  // `item_ends`: strictly increasing, the first item begins at 0. max_length > 0.
  Pieces(std::vector<int64_t> item_ends, int64_t max_length);
  int64_t max_length() const { return max_length_; }
  int64_t full_count() const { return full_before_.back(); }
  int64_t short_count() const { return static_cast<int64_t>(short_items_.size()); }
  int64_t short_tokens() const { return short_tokens_; }
  Segment Full(int64_t piece) const;   // in item order
  Segment Short(int64_t piece) const;  // in item order
  int64_t ItemOf(int64_t token) const;

 private:
  int64_t ItemBegin(int64_t item) const {
    return item == 0 ? 0 : item_ends_[static_cast<size_t>(item) - 1];
  }
  std::vector<int64_t> item_ends_;    // [items]
  std::vector<int64_t> full_before_;  // [items + 1] full pieces of earlier items
  std::vector<int64_t> short_items_;  // items that have a short piece
  int64_t max_length_;
  int64_t short_tokens_ = 0;
};

// Short pieces in some order, end to end.
class ShortStretch {
 public:
  ShortStretch(const Pieces& pieces, const std::vector<int64_t>& order);
  // Segments that cover [begin, end) of the stretch.
  void AppendSegments(int64_t begin, int64_t end, std::vector<Segment>& segments) const;

 private:
  std::vector<Segment> pieces_;
  std::vector<int64_t> ends_;  // [pieces] one past the piece's last token in the stretch
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
  // `source` (below 2^16) makes two sources of the same job differ in order.
  RowPlan(Pieces pieces, uint64_t seed, uint32_t source);
  // Rows of all epochs before this one.
  int64_t RowsBefore(int64_t epoch) const;
  EpochRow Locate(int64_t row) const;
  // The row's segments, together L tokens.
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

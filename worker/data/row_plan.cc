#include "worker/data/row_plan.h"

#include <algorithm>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr size_t kEpochsKept = 3;

// Draws of the same job that must not repeat each other.
enum class Order : uint64_t { kRows = 0, kShortPieces = 1 };

// The step of Rng::Permutation: epoch in the low 40 bits, then source and order.
uint64_t DrawOf(Order order, uint32_t source, int64_t epoch) {
  REQUIRE(source < (1u << 16) && epoch >= 0 && epoch < (int64_t{1} << 40));
  return static_cast<uint64_t>(epoch) | uint64_t{source} << 40 | static_cast<uint64_t>(order) << 56;
}

template <class T, class Make>
const T& Kept(std::deque<std::pair<int64_t, T>>& kept, int64_t epoch, Make make) {
  for (const auto& [of, value] : kept)
    if (of == epoch) return value;
  if (kept.size() == kEpochsKept) kept.pop_front();
  return kept.emplace_back(epoch, make()).second;
}

}  // namespace

Pieces::Pieces(std::vector<int64_t> item_ends, const RowShape& shape)
    : item_ends_(std::move(item_ends)), shape_(shape), full_tokens_(shape.length - shape.around) {
  REQUIRE(shape.around >= 0 && shape.length > 2 * shape.around);
  full_before_.reserve(item_ends_.size() + 1);
  full_before_.push_back(0);
  int64_t begin = 0;
  for (size_t item = 0; item < item_ends_.size(); ++item) {
    REQUIRE(item_ends_[item] > begin);
    const int64_t tokens = ReadEnd(static_cast<int64_t>(item)) - begin;
    full_before_.push_back(full_before_.back() + tokens / full_tokens_);
    if (tokens % full_tokens_ != 0) {
      short_items_.push_back(static_cast<int64_t>(item));
      short_places_ += tokens % full_tokens_ + shape_.around;
    }
    begin = item_ends_[item];
  }
}

Segment Pieces::Full(int64_t piece) const {
  REQUIRE(piece >= 0 && piece < full_count());
  const auto after = std::upper_bound(full_before_.begin(), full_before_.end(), piece);
  const int64_t item = after - full_before_.begin() - 1;
  return {ItemBegin(item) + (piece - full_before_[static_cast<size_t>(item)]) * full_tokens_,
          full_tokens_};
}

Segment Pieces::Short(int64_t piece) const {
  REQUIRE(piece >= 0 && piece < short_count());
  const int64_t item = short_items_[static_cast<size_t>(piece)];
  const int64_t end = ReadEnd(item);
  const int64_t count = (end - ItemBegin(item)) % full_tokens_;
  return {end - count, count};
}

int64_t Pieces::ItemOf(int64_t token) const {
  return std::upper_bound(item_ends_.begin(), item_ends_.end(), token) - item_ends_.begin();
}

ShortStretch::ShortStretch(const Pieces& pieces, const std::vector<int64_t>& order)
    : around_(pieces.around()) {
  pieces_.reserve(order.size());
  ends_.reserve(order.size());
  int64_t end = 0;
  for (const int64_t piece : order) {
    pieces_.push_back(pieces.Short(piece));
    ends_.push_back(end += pieces_.back().count + around_);
  }
}

void ShortStretch::AppendSegments(int64_t begin, int64_t end,
                                  std::vector<Segment>& segments) const {
  REQUIRE(0 <= begin && begin < end && end <= ends_.back());
  auto i = static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  for (; begin < end; ++i) {
    const Segment& piece = pieces_[i];
    const int64_t part_end = std::min(ends_[i], end);
    const int64_t tokens = part_end - begin - around_;
    const int64_t skipped = begin - (ends_[i] - piece.count - around_);
    begin = part_end;
    if (tokens <= 0) continue;
    // A part that ends with the piece has its last tokens.
    const int64_t first = part_end == ends_[i] ? piece.count - tokens : skipped;
    segments.push_back({piece.begin + first, tokens});
  }
}

RowPlan::RowPlan(Pieces pieces, uint64_t seed, uint32_t source)
    : pieces_(std::move(pieces)),
      rng_{.seed = seed, .purpose = Purpose::kDataOrder},
      source_(source) {
  REQUIRE(!pieces_.empty());
}

int64_t RowPlan::RowsBefore(int64_t epoch) const {
  return pieces_.full_count() * epoch + pieces_.short_places() * epoch / pieces_.max_length();
}

EpochRow RowPlan::Locate(int64_t row) const {
  REQUIRE(row >= 0);
  // RowsBefore(e) lies in (e * places / L - 1, e * places / L]: the guess is never past the epoch.
  int64_t epoch = row * pieces_.max_length() / pieces_.places();
  while (RowsBefore(epoch + 1) <= row) ++epoch;
  const int64_t before = RowsBefore(epoch);
  return {epoch, row - before, RowsBefore(epoch + 1) - before};
}

std::vector<Segment> RowPlan::Row(int64_t row) {
  const EpochRow at = Locate(row);
  const int64_t unit = RowOrder(at.epoch, at.rows)[static_cast<size_t>(at.row)];
  if (unit < pieces_.full_count()) return {pieces_.Full(unit)};
  // The unit is a row of short pieces; those of all epochs are one endless stretch.
  const int64_t length = pieces_.max_length();
  const int64_t stretch = pieces_.short_places();
  const int64_t short_row = stretch * at.epoch / length + (unit - pieces_.full_count());
  std::vector<Segment> segments;
  for (int64_t begin = short_row * length; begin < (short_row + 1) * length;) {
    const int64_t epoch = begin / stretch;
    const int64_t end = std::min((short_row + 1) * length, (epoch + 1) * stretch);
    Shorts(epoch).AppendSegments(begin - epoch * stretch, end - epoch * stretch, segments);
    begin = end;
  }
  return segments;
}

const std::vector<int64_t>& RowPlan::RowOrder(int64_t epoch, int64_t rows) {
  return Kept(row_orders_, epoch,
              [&] { return rng_.Permutation(rows, DrawOf(Order::kRows, source_, epoch)); });
}

const ShortStretch& RowPlan::Shorts(int64_t epoch) {
  return Kept(stretches_, epoch, [&] {
    return ShortStretch(pieces_, rng_.Permutation(pieces_.short_count(),
                                                  DrawOf(Order::kShortPieces, source_, epoch)));
  });
}

}  // namespace trainyard::worker

#include "worker/data/evaluation_rows.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "worker/data/loader.h"

namespace trainyard::worker {
namespace {

std::vector<int64_t> InOrder(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

}  // namespace

StatusOr<EvaluationRows> EvaluationRows::Create(
    std::vector<std::shared_ptr<const TokenShard>> shards, int64_t max_length, int64_t max_rows) {
  if (max_length < 1) return InvalidArgument("train.max_length is {}", max_length);
  if (max_rows < 0)
    return InvalidArgument("evaluation.max_rows is {}; it must be 0 (all) or more", max_rows);
  auto tokens = TokenSource::Create(std::move(shards));
  if (!tokens.ok()) return Annotate(tokens.status(), "data.validation");
  Pieces pieces(tokens->ItemEnds(), max_length);
  return EvaluationRows(*std::move(tokens), std::move(pieces), max_rows);
}

EvaluationRows::EvaluationRows(TokenSource tokens, Pieces pieces, int64_t max_rows)
    : tokens_(std::move(tokens)),
      pieces_(std::move(pieces)),
      shorts_(pieces_, InOrder(pieces_.short_count())) {
  const int64_t length = pieces_.max_length();
  all_rows_ = pieces_.full_count() + (pieces_.short_tokens() + length - 1) / length;
  rows_ = max_rows == 0 ? all_rows_ : std::min(max_rows, all_rows_);
  const std::vector<int64_t> ends = tokens_.ItemEnds();
  const std::vector<int64_t> bytes = tokens_.ItemBytes();
  for (size_t item = 0; item < ends.size(); ++item) {
    const int64_t begin = item == 0 ? 0 : ends[item - 1];
    const int64_t sizes = SizeOfTokens(begin, ends[item] - begin);
    scale_of_item_.push_back(
        sizes == 0 ? 0.0 : static_cast<double>(bytes[item]) / static_cast<double>(sizes));
  }
  for (int64_t row = 0; row < rows_; ++row) {
    for (const Segment& segment : Row(row)) {
      targets_ += segment.count;
      source_bytes_ += BytesOf(segment);
    }
  }
}

std::vector<Segment> EvaluationRows::Row(int64_t chosen) const {
  const int64_t row = chosen * all_rows_ / rows_;
  if (row < pieces_.full_count()) return {pieces_.Full(row)};
  const int64_t begin = (row - pieces_.full_count()) * pieces_.max_length();
  std::vector<Segment> segments;
  shorts_.AppendSegments(begin, std::min(begin + pieces_.max_length(), pieces_.short_tokens()),
                         segments);
  return segments;
}

int64_t EvaluationRows::SizeOfTokens(int64_t begin, int64_t count) const {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  tokens_.Copy(begin, count, ids.data());
  int64_t size = 0;
  for (const int32_t id : ids) size += tokens_.first_shard().token_size(id);
  return size;
}

double EvaluationRows::BytesOf(const Segment& segment) const {
  return static_cast<double>(SizeOfTokens(segment.begin, segment.count)) *
         scale_of_item_[static_cast<size_t>(pieces_.ItemOf(segment.begin))];
}

StatusOr<std::vector<EvaluationBatch>> EvaluationRows::MicroBatches(
    int rank, int ranks, int64_t micro_batch_rows) const {
  if (ranks < 1 || rank < 0 || rank >= ranks)
    return InvalidArgument("there is no rank {} among {} ranks", rank, ranks);
  if (micro_batch_rows < 1)
    return InvalidArgument("a micro-batch of {} rows is none", micro_batch_rows);
  const auto [begin, end] = RowsOfRank(rows_, rank, ranks);
  std::vector<EvaluationBatch> batches;
  for (int64_t row = begin; row < end; ++row) {
    if ((row - begin) % micro_batch_rows == 0) batches.emplace_back();
    for (const Segment& segment : Row(row)) {
      tokens_.AppendTo(segment, batches.back().batch);
      batches.back().source_bytes += BytesOf(segment);
    }
  }
  return batches;
}

}  // namespace trainyard::worker

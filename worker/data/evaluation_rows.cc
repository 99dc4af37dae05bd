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
    std::vector<std::shared_ptr<const TokenShard>> shards, int64_t max_length, int64_t max_rows,
    const Masking* masking) {
  if (max_length < 1) return InvalidArgument("train.max_length is {}", max_length);
  if (max_rows < 0)
    return InvalidArgument("evaluation.max_rows is {}; it must be 0 (all) or more", max_rows);
  ASSIGN_OR_RETURN(const RowShape shape, RowShapeOf(max_length, masking));
  auto tokens = TokenSource::Create(std::move(shards));
  if (!tokens.ok()) return Annotate(tokens.status(), "data.validation");
  Pieces pieces(tokens->ItemEnds(), shape);
  if (pieces.empty())
    return InvalidArgument("data.validation has no text in its documents: give it some");
  return EvaluationRows(*std::move(tokens), std::move(pieces), max_rows, masking);
}

EvaluationRows::EvaluationRows(TokenSource tokens, Pieces pieces, int64_t max_rows,
                               const Masking* masking)
    : tokens_(std::move(tokens)),
      pieces_(std::move(pieces)),
      shorts_(pieces_, InOrder(pieces_.short_count())) {
  if (masking != nullptr) masking_ = *masking;
  const int64_t length = pieces_.max_length();
  all_rows_ = pieces_.full_count() + (pieces_.short_places() + length - 1) / length;
  rows_ = max_rows == 0 ? all_rows_ : std::min(max_rows, all_rows_);
  const std::vector<int64_t> ends = tokens_.ItemEnds();
  const std::vector<int64_t> bytes = tokens_.ItemBytes();
  for (size_t item = 0; item < ends.size(); ++item) {
    const int64_t begin = item == 0 ? 0 : ends[item - 1];
    const int64_t sizes = SizeOfTokens(begin, ends[item] - begin);
    scale_of_item_.push_back(
        sizes == 0 ? 0.0 : static_cast<double>(bytes[item]) / static_cast<double>(sizes));
  }
  std::vector<int64_t> times_V(static_cast<size_t>(tokens_.first_shard().vocab_size()));
  for (int64_t row = 0; row < rows_; ++row) {
    EvaluationBatch one;
    AppendRow(row, one);
    targets_ += one.batch.targets();
    source_bytes_ += one.source_bytes;
    for (const int32_t target : one.batch.target_ids_T)
      if (target != kNoTarget) ++times_V[static_cast<size_t>(target)];
  }
  if (targets_ > 0)
    commonest_target_share_ =
        static_cast<double>(*std::max_element(times_V.begin(), times_V.end())) /
        static_cast<double>(targets_);
}

std::vector<Segment> EvaluationRows::Row(int64_t chosen) const {
  const int64_t row = RowOf(chosen);
  if (row < pieces_.full_count()) return {pieces_.Full(row)};
  const int64_t begin = (row - pieces_.full_count()) * pieces_.max_length();
  std::vector<Segment> segments;
  shorts_.AppendSegments(begin, std::min(begin + pieces_.max_length(), pieces_.short_places()),
                         segments);
  return segments;
}

void EvaluationRows::AppendItems(int64_t chosen, Batch& batch) const {
  const MaskingVocabulary& vocabulary = masking_->vocabulary();
  for (const Segment& segment : Row(chosen))
    tokens_.AppendItem(segment, vocabulary.prefix, vocabulary.suffix, batch);
}

void EvaluationRows::AppendRow(int64_t chosen, EvaluationBatch& batch) const {
  if (masking_.has_value()) {
    const int64_t begin = batch.batch.tokens();
    AppendItems(chosen, batch.batch);
    masking_->Apply({.source = kValidationSource, .row = RowOf(chosen)}, begin, batch.batch);
    return;
  }
  for (const Segment& segment : Row(chosen)) {
    tokens_.AppendTo(segment, batch.batch);
    batch.source_bytes += BytesOf(segment);
  }
}

void EvaluationRows::AppendSinglePlace(int64_t chosen, EvaluationBatch& batch) const {
  Batch row;
  AppendItems(chosen, row);
  const int64_t place =
      masking_->OnePlace({.source = kValidationSource, .row = RowOf(chosen)}, 0, row);
  if (place < 0) return;
  row.target_ids_T[static_cast<size_t>(place)] = row.token_ids_T[static_cast<size_t>(place)];
  row.token_ids_T[static_cast<size_t>(place)] = masking_->vocabulary().mask;
  batch.batch.AppendItem(row, place);
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

template <class Append>
StatusOr<std::vector<EvaluationBatch>> EvaluationRows::Cut(int rank, int ranks,
                                                           int64_t micro_batch_rows,
                                                           Append append) const {
  if (ranks < 1 || rank < 0 || rank >= ranks)
    return InvalidArgument("there is no rank {} among {} ranks", rank, ranks);
  if (micro_batch_rows < 1)
    return InvalidArgument("a micro-batch of {} rows is none", micro_batch_rows);
  const auto [begin, end] = RowsOfRank(rows_, rank, ranks);
  std::vector<EvaluationBatch> batches;
  for (int64_t row = begin; row < end; ++row) {
    if ((row - begin) % micro_batch_rows == 0) batches.emplace_back();
    append(row, batches.back());
  }
  return batches;
}

StatusOr<std::vector<EvaluationBatch>> EvaluationRows::MicroBatches(
    int rank, int ranks, int64_t micro_batch_rows) const {
  return Cut(rank, ranks, micro_batch_rows,
             [this](int64_t row, EvaluationBatch& batch) { AppendRow(row, batch); });
}

StatusOr<std::vector<EvaluationBatch>> EvaluationRows::SinglePlaces(
    int rank, int ranks, int64_t micro_batch_rows) const {
  if (!masking_.has_value()) return FailedPrecondition("the rows are not masked ones");
  return Cut(rank, ranks, micro_batch_rows,
             [this](int64_t row, EvaluationBatch& batch) { AppendSinglePlace(row, batch); });
}

}  // namespace trainyard::worker

// The validation rows of a job: every target once, in a fixed order, or an evenly spaced choice of
// them. Rows are cut as for training (row_plan.h) but not shuffled; the last may be shorter. Masked
// rows are masked the same every time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/data/masking.h"
#include "worker/data/row_plan.h"
#include "worker/data/token_shard.h"
#include "worker/data/token_source.h"

namespace trainyard::worker {

struct EvaluationBatch {
  Batch batch;
  // Bytes of source text its targets stand for. Bits per byte = nats / ln 2 / bytes, both summed
  // over all batches of all ranks. Whole numbers for byte-level tokenizers; where tokens do not add
  // up to the text's bytes, an item's bytes are shared out by the tokens' sizes. 0 for masked rows.
  double source_bytes = 0;
};

class EvaluationRows {
 public:
  // `max_rows` 0: all rows; otherwise at most so many, spread evenly over the data so that every
  // document has its share. `masking` as in LoaderOptions.
  static StatusOr<EvaluationRows> Create(std::vector<std::shared_ptr<const TokenShard>> shards,
                                         int64_t max_length, int64_t max_rows,
                                         const Masking* masking = nullptr);

  int64_t rows() const { return rows_; }  // chosen
  int64_t all_rows() const { return all_rows_; }
  int64_t targets() const { return targets_; }  // of the chosen rows
  double source_bytes() const { return source_bytes_; }
  bool masked() const { return masking_.has_value(); }
  // Share of the chosen rows' targets that are the commonest of them: what always guessing one and
  // the same token could reach at best.
  double commonest_target_share() const { return commonest_target_share_; }

  // The rank's rows, contiguous; none when there are more ranks than rows.
  StatusOr<std::vector<EvaluationBatch>> MicroBatches(int rank, int ranks,
                                                      int64_t micro_batch_rows) const;
  // Masked rows only: for each chosen row one of its places, drawn once, masked alone: the item
  // that holds it, one target. For pseudo-perplexity (Salazar et al. 2020, arXiv:1910.14659).
  StatusOr<std::vector<EvaluationBatch>> SinglePlaces(int rank, int ranks,
                                                      int64_t micro_batch_rows) const;

 private:
  EvaluationRows(TokenSource tokens, Pieces pieces, int64_t max_rows, const Masking* masking);
  int64_t RowOf(int64_t chosen) const { return chosen * all_rows_ / rows_; }
  std::vector<Segment> Row(int64_t chosen) const;
  // Masked rows: their items, not masked yet.
  void AppendItems(int64_t chosen, Batch& batch) const;
  void AppendRow(int64_t chosen, EvaluationBatch& batch) const;
  void AppendSinglePlace(int64_t chosen, EvaluationBatch& batch) const;
  template <class Append>
  StatusOr<std::vector<EvaluationBatch>> Cut(int rank, int ranks, int64_t micro_batch_rows,
                                             Append append) const;
  double BytesOf(const Segment& segment) const;
  int64_t SizeOfTokens(int64_t begin, int64_t count) const;
  TokenSource tokens_;
  std::optional<Masking> masking_;
  Pieces pieces_;
  ShortStretch shorts_;
  std::vector<double> scale_of_item_;  // [items] source bytes over the sum of its tokens' sizes
  int64_t rows_ = 0, all_rows_ = 0, targets_ = 0;
  double source_bytes_ = 0;
  double commonest_target_share_ = 0;
};

}  // namespace trainyard::worker

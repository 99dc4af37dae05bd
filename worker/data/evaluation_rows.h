// The validation rows of a job: every target once, in a fixed order, or an evenly spaced choice of
// them. Rows are cut as for training (row_plan.h) but not shuffled; the last may be shorter.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/data/row_plan.h"
#include "worker/data/token_shard.h"
#include "worker/data/token_source.h"

namespace trainyard::worker {

struct EvaluationBatch {
  Batch batch;
  // Bytes of source text its targets stand for. Bits per byte = nats / ln 2 / bytes, both summed
  // over all batches of all ranks. Whole numbers for byte-level tokenizers; where tokens do not add
  // up to the text's bytes, an item's bytes are shared out by the tokens' sizes.
  double source_bytes = 0;
};

class EvaluationRows {
 public:
  // `max_rows` 0: all rows; otherwise at most so many, spread evenly over the data so that every
  // document has its share.
  static StatusOr<EvaluationRows> Create(std::vector<std::shared_ptr<const TokenShard>> shards,
                                         int64_t max_length, int64_t max_rows);

  int64_t rows() const { return rows_; }  // chosen
  int64_t all_rows() const { return all_rows_; }
  int64_t targets() const { return targets_; }  // of the chosen rows
  double source_bytes() const { return source_bytes_; }

  // The rank's rows, contiguous; none when there are more ranks than rows.
  StatusOr<std::vector<EvaluationBatch>> MicroBatches(int rank, int ranks,
                                                      int64_t micro_batch_rows) const;

 private:
  EvaluationRows(TokenSource tokens, Pieces pieces, int64_t max_rows);
  std::vector<Segment> Row(int64_t chosen) const;
  double BytesOf(const Segment& segment) const;
  int64_t SizeOfTokens(int64_t begin, int64_t count) const;
  TokenSource tokens_;
  Pieces pieces_;
  ShortStretch shorts_;
  std::vector<double> scale_of_item_;  // [items] source bytes over the sum of its tokens' sizes
  int64_t rows_ = 0, all_rows_ = 0, targets_ = 0;
  double source_bytes_ = 0;
};

}  // namespace trainyard::worker

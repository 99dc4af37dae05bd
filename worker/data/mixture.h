// Which source each row of the training sequence comes from: shares by weight, exact in every block
// of kBlockRows rows, in an order drawn per block.
#pragma once

#include <cstdint>
#include <vector>

#include "common/rng.h"
#include "common/status.h"

namespace trainyard::worker {

struct SourceRow {
  int32_t source = 0;
  int64_t row = 0;  // of that source's own sequence
  bool operator==(const SourceRow&) const = default;
};

// Keeps the block it was last asked about. Not thread-safe.
class Mixture {
 public:
  static constexpr int64_t kBlockRows = 4096;  // shares are kept to 1 in 4096

  // Weights are relative; a source gets at least one row of a block. InvalidArgument when there is
  // none, one is not a positive number, or there are more than 1024.
  static StatusOr<Mixture> Create(const std::vector<double>& weights, uint64_t seed);
  SourceRow At(int64_t row);
  // Rows of `source` among the first `row` of the mixed sequence.
  int64_t RowsOf(int32_t source, int64_t row);
  int64_t rows_per_block(int32_t source) const { return counts_[static_cast<size_t>(source)]; }

 private:
  Mixture(std::vector<int64_t> counts, uint64_t seed);
  void LoadBlock(int64_t block);
  std::vector<int64_t> counts_;  // [sources] rows of a block; sum kBlockRows
  Rng rng_;
  int64_t block_ = -1;
  std::vector<SourceRow> block_rows_;  // row is counted within the block
};

}  // namespace trainyard::worker

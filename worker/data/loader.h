// The training rows of a job. A step's rows are a function of (data, seed, max_length,
// global_batch_size, step) alone: the number of ranks and the micro-batch only divide them, and
// resuming is asking for the next step. row_plan.h says what a row is, mixture.h how sources mix,
// masking.h what a masked row is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/data/batch.h"
#include "worker/data/masking.h"
#include "worker/data/mixture.h"
#include "worker/data/row_plan.h"
#include "worker/data/token_shard.h"
#include "worker/data/token_source.h"

namespace trainyard::worker {

struct LoaderSource {
  std::vector<std::shared_ptr<const TokenShard>> shards;
  double weight = 1.0;  // share of rows, relative to the other sources
};

struct LoaderOptions {
  uint64_t seed = 42;
  int64_t max_length = 256;        // tokens of a row
  int64_t global_batch_size = 32;  // rows of a step, over all ranks
  // Null: every place is to predict the next token. Else rows are texts in the tokenizer's template
  // and some places are masked. Copied.
  const Masking* masking = nullptr;
};

// Where a source stands: the next row to be read is `item` of the `items` of this epoch, in the
// order drawn for it. For pretraining the loader's item is a row: a full piece of a document or
// several short ones.
struct LoaderPosition {
  int64_t epoch = 0;
  int64_t item = 0;
  int64_t items = 0;
};

// Not thread-safe: it keeps the order of the current epochs.
class Loader {
 public:
  // InvalidArgument names the option or source at fault.
  static StatusOr<Loader> Create(const std::vector<LoaderSource>& sources,
                                 const LoaderOptions& options);

  // The rows of `step` that belong to `rank` (contiguous, in row order), at most micro_batch_rows
  // to a batch, without padding: a batch has rows x max_length tokens (masked rows may be a few
  // shorter). Steps count from 0.
  // InvalidArgument when there are more ranks than rows.
  StatusOr<std::vector<Batch>> MicroBatches(int64_t step, int rank, int ranks,
                                            int64_t micro_batch_rows);
  // Trained tokens of the step over all ranks: what its loss is divided by. Where rows are masked,
  // all of them are made to be counted.
  int64_t TargetsInStep(int64_t step);
  int64_t places_per_step() const { return options_.global_batch_size * options_.max_length; }
  // [sources] where each source stands before `step`.
  std::vector<LoaderPosition> PositionBefore(int64_t step);

  int64_t sources() const { return static_cast<int64_t>(sources_.size()); }
  int64_t vocab_size() const;
  // Tokens of one pass over all sources.
  int64_t tokens_per_epoch() const;
  // Places that rows of all these tokens have.
  int64_t places_per_epoch() const;
  // Names everything the rows depend on; a checkpoint keeps it and resume compares it.
  const std::string& digest() const { return digest_; }

 private:
  struct Source {
    TokenSource tokens;
    RowPlan plan;
  };
  Loader(std::vector<Source> sources, Mixture mixture, const LoaderOptions& options);
  void AppendRow(int64_t row, Batch& batch);
  std::vector<Source> sources_;
  Mixture mixture_;
  LoaderOptions options_;
  std::optional<Masking> masking_;
  std::string digest_;
};

// The rows [first, second) of `rows` that belong to `rank`: contiguous, sizes differ by one at
// most.
std::pair<int64_t, int64_t> RowsOfRank(int64_t rows, int rank, int ranks);

}  // namespace trainyard::worker

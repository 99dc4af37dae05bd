// Whether the ranks of a host fit into its memory, and what would make them fit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/plan/memory.h"

namespace trainyard::plan {

// A change of the job file that fits.
struct Remedy {
  std::string set;          // "train.micro_batch_size=2", several separated by spaces: for --set
  std::string cost;         // what it costs, in words
  int64_t total_bytes = 0;  // the host's with it
};

struct Fit {
  bool fits = false;
  int ranks_on_host = 1;
  int64_t needed_bytes = 0;
  int64_t memory_bytes = 0;
  // When it does not fit: single changes first, by how little they change; when none is enough,
  // one of several together. Empty: nothing short of a smaller model would do.
  std::vector<Remedy> remedies;
};

// `memory_bytes`: what shape.ranks_on_host ranks may have together. `may_choose_bfloat16`: bf16 is
// a remedy for fp32.
Fit FitInto(const RankShape& shape, int64_t memory_bytes, bool may_choose_bfloat16);

// The largest micro-batch that divides the rank's rows, is at most `rows_max` and fits; 0: none.
int64_t LargestMicroBatch(RankShape shape, int64_t memory_bytes, int64_t rows_max);

// One sentence: what is needed, what there is, what would fit.
std::string FitSentence(const Fit& fit);

// "1.5 GiB"
std::string FormatMemory(int64_t bytes);
// From "8GiB", "512 MiB", "3G" (of 1024), "8GB" (of 1000) or bytes; InvalidArgument otherwise.
StatusOr<int64_t> ParseMemory(std::string_view text);

}  // namespace trainyard::plan

#include "worker/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr size_t kSourcesMax = 1024;
// The step of the permutation: set apart from the row plans' draws (row_plan.cc).
constexpr uint64_t kMixtureDraw = uint64_t{2} << 56;

// Largest remainders: whole shares first, then one more to the greatest fractions.
std::vector<int64_t> Apportion(const std::vector<double>& weights, int64_t rows) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const auto sources = static_cast<int64_t>(weights.size());
  // One row for each source beforehand, so that none is left out.
  std::vector<int64_t> counts(weights.size(), 1);
  std::vector<std::pair<double, size_t>> remainders;
  int64_t given = sources;
  for (size_t s = 0; s < weights.size(); ++s) {
    const double share = std::max(0.0, weights[s] / sum * static_cast<double>(rows) - 1.0);
    const auto whole = std::min(static_cast<int64_t>(share), rows - given);
    counts[s] += whole;
    given += whole;
    remainders.emplace_back(-(share - std::floor(share)), s);
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; given < rows; i = (i + 1) % remainders.size(), ++given)
    ++counts[remainders[i].second];
  return counts;
}

}  // namespace

StatusOr<Mixture> Mixture::Create(const std::vector<double>& weights, uint64_t seed) {
  if (weights.empty() || weights.size() > kSourcesMax)
    return InvalidArgument("data.train has {} sources; 1 to {} can be mixed", weights.size(),
                           kSourcesMax);
  double sum = 0;
  for (size_t s = 0; s < weights.size(); ++s) {
    if (!std::isfinite(weights[s]) || weights[s] <= 0)
      return InvalidArgument("data.train[{}].weight is {}; it must be a number above 0", s,
                             weights[s]);
    sum += weights[s];
  }
  if (!std::isfinite(sum)) return InvalidArgument("the weights of data.train are too large to add");
  return Mixture(Apportion(weights, kBlockRows), seed);
}

Mixture::Mixture(std::vector<int64_t> counts, uint64_t seed)
    : counts_(std::move(counts)), rng_{.seed = seed, .purpose = Purpose::kDataOrder} {}

SourceRow Mixture::At(int64_t row) {
  REQUIRE(row >= 0);
  if (counts_.size() == 1) return {0, row};
  const int64_t block = row / kBlockRows;
  LoadBlock(block);
  SourceRow at = block_rows_[static_cast<size_t>(row % kBlockRows)];
  at.row += block * counts_[static_cast<size_t>(at.source)];
  return at;
}

int64_t Mixture::RowsOf(int32_t source, int64_t row) {
  REQUIRE(row >= 0);
  if (counts_.size() == 1) return row;
  const int64_t block = row / kBlockRows;
  LoadBlock(block);
  const auto end = block_rows_.begin() + row % kBlockRows;
  return block * counts_[static_cast<size_t>(source)] +
         std::count_if(block_rows_.begin(), end,
                       [&](const SourceRow& at) { return at.source == source; });
}

void Mixture::LoadBlock(int64_t block) {
  if (block == block_) return;
  std::vector<int32_t> source_of_slot;
  source_of_slot.reserve(static_cast<size_t>(kBlockRows));
  for (size_t s = 0; s < counts_.size(); ++s)
    source_of_slot.insert(source_of_slot.end(), static_cast<size_t>(counts_[s]),
                          static_cast<int32_t>(s));
  std::vector<int64_t> seen(counts_.size(), 0);
  block_rows_.clear();
  for (const int64_t slot :
       rng_.Permutation(kBlockRows, kMixtureDraw | static_cast<uint64_t>(block))) {
    const int32_t source = source_of_slot[static_cast<size_t>(slot)];
    block_rows_.push_back({source, seen[static_cast<size_t>(source)]++});
  }
  block_ = block;
}

}  // namespace trainyard::worker

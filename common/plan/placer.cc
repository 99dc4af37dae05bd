#include "common/plan/placer.h"

#include <algorithm>
#include <iterator>

#include "common/require.h"

namespace trainyard::plan {

int64_t Placer::Take(int64_t bytes) {
  REQUIRE(bytes > 0);
  bytes = (bytes + kAlign - 1) / kAlign * kAlign;
  const auto gap = std::find_if(gaps_.begin(), gaps_.end(),
                                [&](const auto& entry) { return entry.second >= bytes; });
  if (gap == gaps_.end()) {
    const int64_t offset = end_;
    taken_[offset] = bytes;
    end_ += bytes;
    high_ = std::max(high_, end_);
    return offset;
  }
  const auto [offset, room] = *gap;
  gaps_.erase(gap);
  if (room > bytes) gaps_[offset + bytes] = room - bytes;
  taken_[offset] = bytes;
  return offset;
}

void Placer::Give(int64_t offset) {
  const auto taken = taken_.find(offset);
  REQUIRE(taken != taken_.end());
  int64_t bytes = taken->second;
  taken_.erase(taken);
  const auto above = gaps_.upper_bound(offset);
  if (above != gaps_.begin()) {
    const auto below = std::prev(above);
    if (below->first + below->second == offset) {
      offset = below->first;
      bytes += below->second;
      gaps_.erase(below);
    }
  }
  if (above != gaps_.end() && offset + bytes == above->first) {
    bytes += above->second;
    gaps_.erase(above);
  }
  if (offset + bytes == end_) {
    end_ = offset;
  } else {
    gaps_[offset] = bytes;
  }
}

}  // namespace trainyard::plan

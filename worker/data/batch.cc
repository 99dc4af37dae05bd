#include "worker/data/batch.h"

#include <algorithm>

#include "common/require.h"

namespace trainyard::worker {

int64_t Batch::targets() const {
  return static_cast<int64_t>(target_ids_T.size()) -
         std::count(target_ids_T.begin(), target_ids_T.end(), kNoTarget);
}

void Batch::AppendItem(const Batch& other, int64_t place) {
  const auto after = std::upper_bound(other.cu_seqlens.begin(), other.cu_seqlens.end(),
                                      static_cast<int32_t>(place));
  REQUIRE(after != other.cu_seqlens.begin() && after != other.cu_seqlens.end());
  const auto append = [begin = *(after - 1), end = *after](std::vector<int32_t>& to,
                                                           const std::vector<int32_t>& from) {
    to.insert(to.end(), from.begin() + begin, from.begin() + end);
  };
  append(token_ids_T, other.token_ids_T);
  append(target_ids_T, other.target_ids_T);
  append(position_ids_T, other.position_ids_T);
  if (cu_seqlens.empty()) cu_seqlens.push_back(0);
  cu_seqlens.push_back(static_cast<int32_t>(token_ids_T.size()));
}

}  // namespace trainyard::worker

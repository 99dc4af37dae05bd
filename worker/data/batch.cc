#include "worker/data/batch.h"

#include <algorithm>

namespace trainyard::worker {

int64_t Batch::targets() const {
  return static_cast<int64_t>(target_ids_T.size()) -
         std::count(target_ids_T.begin(), target_ids_T.end(), kNoTarget);
}

}  // namespace trainyard::worker

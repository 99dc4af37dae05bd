// Ranks that are threads of one process, for tests: the shared-memory collective over plain memory.
#pragma once

#include <memory>
#include <vector>

#include "worker/parallel/collective.h"

namespace trainyard::worker {

// One per rank, in rank order; 1 to 64. Each is used by one thread (Abort by any).
std::vector<std::unique_ptr<Collective>> MakeThreadCollectives(int size);

}  // namespace trainyard::worker

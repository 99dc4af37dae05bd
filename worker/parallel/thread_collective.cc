#include "worker/parallel/thread_collective.h"

#include "worker/parallel/segment.h"
#include "worker/parallel/shared_memory_collective.h"

namespace trainyard::worker {

std::vector<std::unique_ptr<Collective>> MakeThreadCollectives(int size) {
  const std::shared_ptr<Segment> segment = Segment::InMemory(size);
  std::vector<std::unique_ptr<Collective>> ranks;
  for (int rank = 0; rank < size; ++rank)
    ranks.push_back(
        std::make_unique<SharedMemoryCollective>(segment, rank, size, std::vector<UniqueFd>()));
  return ranks;
}

}  // namespace trainyard::worker

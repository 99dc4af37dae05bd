#include "worker/parallel/connect.h"

#include "worker/parallel/segment.h"
#include "worker/parallel/shared_memory_collective.h"

namespace trainyard::worker {

StatusOr<std::unique_ptr<Collective>> Connect(const PeerListener& listener,
                                              const std::vector<std::string>& addresses, int rank,
                                              const std::string& secret, absl::Duration timeout,
                                              const std::function<bool()>& give_up) {
  const int ranks = static_cast<int>(addresses.size());
  if (ranks > kMaxRanksPerHost)
    return InvalidArgument("{} ranks share no memory: {} at most", ranks, kMaxRanksPerHost);
  // The first rank makes the memory before anybody can ask for it.
  std::shared_ptr<Segment> segment;
  std::string note;
  if (rank == 0 && ranks > 0) {
    ASSIGN_OR_RETURN(segment, Segment::Create(ranks));
    note = segment->location();
  }
  ASSIGN_OR_RETURN(Meeting meeting,
                   Meet(listener, addresses, rank, secret, note, timeout, give_up));
  if (rank != 0) {
    ASSIGN_OR_RETURN(segment, Segment::Open(meeting.note, ranks));
  }
  return std::make_unique<SharedMemoryCollective>(std::move(segment), rank, ranks,
                                                  std::move(meeting.connections));
}

}  // namespace trainyard::worker

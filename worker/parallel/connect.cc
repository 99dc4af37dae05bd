#include "worker/parallel/connect.h"

#include <algorithm>

#include "common/clock.h"
#include "worker/parallel/host_identity.h"
#include "worker/parallel/peer_streams.h"
#include "worker/parallel/segment.h"
#include "worker/parallel/shared_memory_collective.h"
#include "worker/parallel/tcp_collective.h"

namespace trainyard::worker {
namespace {

// The first rank's memory, or null where this rank cannot share it.
std::shared_ptr<Segment> OpenShared(const std::string& note, int ranks) {
  const size_t space = note.find(' ');
  if (space == std::string::npos || note.substr(0, space) != HostIdentity()) return nullptr;
  StatusOr<std::shared_ptr<Segment>> segment = Segment::Open(note.substr(space + 1), ranks);
  return segment.ok() ? *std::move(segment) : nullptr;
}

// Whether every rank says yes.
StatusOr<bool> AllSay(bool yes, PeerStreams* streams, int rank, absl::Duration deadline,
                      const std::function<bool()>& give_up) {
  Traffic traffic(streams->size());
  std::byte mine{static_cast<uint8_t>(yes ? 1 : 0)};
  std::vector<std::byte> answers(streams->size(), mine);
  for (size_t peer = 0; peer < answers.size(); ++peer) {
    if (static_cast<int>(peer) == rank) continue;
    traffic.to[peer].push_back({.data = &mine, .bytes = 1});
    traffic.from[peer].push_back({.data = &answers[peer], .bytes = 1});
  }
  const PeerStreams::Result result =
      streams->Run(traffic, deadline, [&] { return give_up && give_up(); });
  switch (result.end) {
    case PeerStreams::End::kDone:
      break;
    case PeerStreams::End::kStopped:
      return Cancelled("rank {} waits no longer for its peers' answers", rank);
    case PeerStreams::End::kLate:
      return DeadlineExceeded("rank {} did not say in time whether it shares memory", result.peer);
    case PeerStreams::End::kBroken:
      return Aborted("rank {} was met, then its connection ended: {}", result.peer, result.why);
  }
  return std::all_of(answers.begin(), answers.end(), [](std::byte b) { return b == std::byte{1}; });
}

}  // namespace

StatusOr<std::unique_ptr<Collective>> Connect(const PeerListener& listener,
                                              const std::vector<std::string>& addresses, int rank,
                                              const std::string& secret, absl::Duration timeout,
                                              const std::function<bool()>& give_up,
                                              Transport transport) {
  const SystemClock clock;
  const absl::Duration deadline = clock.Elapsed() + timeout;
  const auto ranks = static_cast<int>(addresses.size());
  if (ranks > TcpCollective::kMaxRanks)
    return InvalidArgument("{} ranks are too many: {} at most", ranks, TcpCollective::kMaxRanks);
  // The first rank makes the memory before anybody can ask for it.
  const bool may_share = transport == Transport::kBest && ranks <= kMaxRanksPerHost;
  std::shared_ptr<Segment> segment;
  std::string note;
  if (may_share && rank == 0 && ranks > 0) {
    ASSIGN_OR_RETURN(segment, Segment::Create(ranks));
    note = HostIdentity() + " " + segment->location();
  }
  ASSIGN_OR_RETURN(Meeting meeting,
                   Meet(listener, addresses, rank, secret, note, timeout, give_up));
  if (may_share && rank != 0) segment = OpenShared(meeting.note, ranks);

  PeerStreams streams(std::move(meeting.connections));
  ASSIGN_OR_RETURN(const bool shared,
                   AllSay(segment != nullptr, &streams, rank, deadline, give_up));
  if (shared)
    return std::make_unique<SharedMemoryCollective>(std::move(segment), rank, ranks,
                                                    streams.Take());
  // Control lines are proved like the others, under a secret that is good for nothing else.
  ASSIGN_OR_RETURN(Meeting control,
                   Meet(listener, addresses, rank, HmacSha256(secret, "control lines"),
                        /*note=*/"", deadline - clock.Elapsed(), give_up));
  return std::make_unique<TcpCollective>(streams.Take(), std::move(control.connections), rank);
}

}  // namespace trainyard::worker

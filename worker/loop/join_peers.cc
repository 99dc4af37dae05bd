#include "worker/loop/join_peers.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "worker/loop/outcome.h"
#include "worker/parallel/connect.h"
#include "worker/parallel/nccl_collective.h"

namespace trainyard::worker {
namespace {

// From the first rank that hears a stop to the last: reports and answers come within a second.
constexpr absl::Duration kStopSpreads = absl::Seconds(2);
constexpr absl::Duration kLookEvery = absl::Milliseconds(50);

// For the log.
const char* PeersThrough(const RankContext& context, const Collective& collective) {
  if (context.spec.resources.device == "cuda") return "nccl";
  return collective.waits_for_network() ? "tcp" : "shared_memory";
}

}  // namespace

StatusOr<std::unique_ptr<Collective>> JoinPeers(const RankContext& context) {
  if (context.ranks == 1) return std::unique_ptr<Collective>();
  ASSIGN_OR_RETURN(const PeerListener listener, PeerListener::Open(context.bind_address));
  context.link->ReportListenAddress(listener.address());
  context.link->SetPhase(link::Phase::kWaiting);
  const auto all_known = [&](const link::Directive& directive) {
    return directive.peers.size() == static_cast<size_t>(context.ranks);
  };
  ASSIGN_OR_RETURN(const link::Directive directive,
                   context.link->WaitUntil("all peers listen", [&](const link::Directive& d) {
                     return all_known(d) || d.stop != link::StopMode::kNone;
                   }));
  if (directive.stop != link::StopMode::kNone) return StopRequested("all peers listen");
  context.link->SetPhase(link::Phase::kLoading);
  const auto stopped = [&] { return context.link->stop() != link::StopMode::kNone; };
  StatusOr<std::unique_ptr<Collective>> collective =
      Connect(listener, directive.peers, context.rank, directive.attempt_secret,
              context.connect_timeout, stopped);
  if (absl::IsCancelled(collective.status())) return StopRequested("all peers are connected");
  if (!collective.ok()) return PeerError(collective.status());
  if (context.spec.resources.device == "cuda") {
    ASSIGN_OR_RETURN(std::unique_ptr<NcclLibrary> library, OpenNcclLibrary());
    collective = NcclCollective::Connect(*std::move(collective), std::move(library), context.clock,
                                         context.connect_timeout);
    if (!collective.ok()) return PeerError(collective.status());
  }
  spdlog::info("ranks={} listens={} peers_through={}", context.ranks, listener.address(),
               PeersThrough(context, **collective));
  return collective;
}

Status PeersLeft(const RankContext& context, const Status& error) {
  if (ReasonOf(error) != kPeerLost) return error;
  const absl::Duration until = context.clock->Elapsed() + kStopSpreads;
  while (context.link->stop() == link::StopMode::kNone) {
    const absl::Duration left = until - context.clock->Elapsed();
    if (left <= absl::ZeroDuration()) return error;
    if (!context.link->Pause(std::min(left, kLookEvery))) break;
  }
  if (context.link->stop() == link::StopMode::kNone) return error;  // nobody listens any more
  return StopRequested("the first step was done");
}

}  // namespace trainyard::worker

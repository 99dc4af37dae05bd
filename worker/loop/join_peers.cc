#include "worker/loop/join_peers.h"

#include "worker/loop/outcome.h"
#include "worker/parallel/connect.h"

namespace trainyard::worker {

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
  if (!all_known(directive)) return StopRequested("all peers listen");
  context.link->SetPhase(link::Phase::kLoading);
  StatusOr<std::unique_ptr<Collective>> collective = Connect(
      listener, directive.peers, context.rank, directive.attempt_secret, context.connect_timeout);
  if (!collective.ok()) return PeerError(collective.status());
  return collective;
}

}  // namespace trainyard::worker

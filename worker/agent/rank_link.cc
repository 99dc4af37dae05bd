#include "worker/agent/rank_link.h"

#include <spdlog/spdlog.h>

namespace trainyard::worker {

StatusOr<std::unique_ptr<RankLink>> RankLink::Dial(const Peer& peer, const RankLinkEvents& events,
                                                   const Clock& clock) {
  std::unique_ptr<RankLink> line(new RankLink());
  RankLink* self = line.get();
  const auto set_connected = [self](bool connected) {
    absl::MutexLock lock(&self->mu_);
    self->connected_ = connected;
  };
  link::LinkClientOptions options;
  options.socket_path = peer.socket;
  options.secret = peer.secret;
  options.agent = peer.agent;
  options.job = peer.key.job;
  options.attempt = peer.key.attempt;
  options.rank = peer.key.rank;
  link::LinkClientCallbacks callbacks;
  callbacks.on_status = [key = peer.key, events](const link::RankStatus& status) {
    events.status(key, status);
  };
  callbacks.on_telemetry = [key = peer.key, events](uint64_t sequence,
                                                    const link::Telemetry& words) {
    events.telemetry(key, sequence, words);
  };
  callbacks.on_connected = [set_connected](const link::Challenge&) { set_connected(true); };
  callbacks.on_disconnected = [set_connected, key = peer.key](const Status& why) {
    spdlog::debug("{}: its line broke: {}", NameOf(key), MessageOf(why));
    set_connected(false);
  };
  ASSIGN_OR_RETURN(line->client_, link::LinkClient::Start(options, callbacks, clock));
  return line;
}

void RankLink::HearOut() {
  absl::MutexLock lock(&mu_);
  const auto ended = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !connected_; };
  mu_.AwaitWithTimeout(absl::Condition(&ended), absl::Milliseconds(500));
}

}  // namespace trainyard::worker

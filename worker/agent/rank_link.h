// The agent's line to one trainer: link::LinkClient with the events named by rank, and a way to
// hear a dead trainer out.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/link/link_client.h"
#include "common/status.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {

struct RankLinkEvents {
  // Called from links' threads; must return quickly.
  std::function<void(const RankKey&, const link::RankStatus&)> status;
  // In order of `sequence`, each once in this agent's life.
  std::function<void(const RankKey&, uint64_t sequence, link::Telemetry)> telemetry;
};

class RankLink {
 public:
  struct Peer {
    RankKey key;
    std::string socket;
    std::string secret;
    std::string agent;  // random per start of this daemon
  };
  // `clock` outlives the link.
  static StatusOr<std::unique_ptr<RankLink>> Dial(const Peer& peer, const RankLinkEvents& events,
                                                  const Clock& clock);

  // The newest replaces those before; told again after each new connection.
  void Direct(const link::Directive& directive) { client_->SetDirective(directive); }
  // Telemetry up to here is durable at the coordinator: the trainer may forget it.
  void AcknowledgeTelemetry(uint64_t sequence) { client_->AcknowledgeTelemetry(sequence); }
  // The trainer is dead: waits, half a second at most, until what it left in the socket is read.
  void HearOut();

 private:
  RankLink() = default;
  mutable absl::Mutex mu_;
  bool connected_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<link::LinkClient> client_;  // last: its thread uses the rest
};

}  // namespace trainyard::worker

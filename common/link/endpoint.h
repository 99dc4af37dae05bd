// One side of an authenticated link: all its channels, what is to be sent next, what an arriving
// frame means. Survives connections; a pure object that server and client drive.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>

#include "common/link/channel.h"

namespace trainyard::link {

class Endpoint {
 public:
  // A message that has not been seen before.
  struct Delivery {
    Channel channel = Channel::kControl;
    uint64_t sequence = 0;
    std::string payload = {};
  };

  Status Push(Channel channel, std::string payload) {
    return out(channel).Push(std::move(payload));
  }

  // What the present connection should carry next: acknowledgements, control, rollouts, telemetry.
  std::optional<Frame> NextFrame();
  // An error means that the connection must be closed; the endpoint is as good as before.
  StatusOr<std::optional<Delivery>> Receive(Frame frame);
  // The receiver may forget everything on `channel` up to `sequence`.
  void Acknowledge(Channel channel, uint64_t sequence);

  // A new connection begins; its other side has received so much.
  Status Reconnected(const std::map<Channel, uint64_t>& received);
  // The other side is another process than before: its numbers start again at 1.
  void ForgetPeer() {
    in_ = {};
    acks_to_send_.clear();
  }
  std::map<Channel, uint64_t> received() const;

  const Outgoing& outgoing(Channel channel) const { return out_[static_cast<size_t>(channel)]; }

 private:
  Outgoing& out(Channel channel) { return out_[static_cast<size_t>(channel)]; }

  std::array<Outgoing, kChannels> out_ = {Outgoing(Channel::kLink), Outgoing(Channel::kControl),
                                          Outgoing(Channel::kTelemetry),
                                          Outgoing(Channel::kRollouts)};
  std::array<Incoming, kChannels> in_ = {};
  std::map<Channel, uint64_t> acks_to_send_;  // at most one per channel
};

}  // namespace trainyard::link

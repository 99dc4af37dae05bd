// One direction of one channel: numbers messages, keeps them until they are acknowledged, sends
// again what a connection lost, and has a bound and a rule for what happens there:
//   control    the newest replaces what is older: messages are whole states
//   telemetry  the oldest are dropped, and a TelemetryGap in their place says so
//   rollouts   Push refuses: back-pressure
// Pure objects: no sockets, no clock, no lock.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "common/link/frame.h"
#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::link {

struct ChannelBounds {
  size_t messages = 0;   // kept until acknowledged
  size_t bytes = 0;      // of their payloads
  size_t in_flight = 0;  // sent and not acknowledged: bounds what the receiver must hold
};
ChannelBounds BoundsOf(Channel channel);

class Outgoing {
 public:
  explicit Outgoing(Channel channel) : Outgoing(channel, BoundsOf(channel)) {}
  Outgoing(Channel channel, const ChannelBounds& bounds) : channel_(channel), bounds_(bounds) {}

  // ResourceExhausted on the rollouts channel when it is full; InvalidArgument for a payload that
  // no frame or no empty buffer could hold. Nothing is changed then.
  Status Push(std::string payload);
  // The next frame for the present connection, if any may be sent.
  std::optional<Frame> NextToSend();
  // The receiver keeps everything up to `sequence`. InvalidArgument if that was never sent.
  Status Acknowledged(uint64_t sequence);
  // On a new connection, whose receiver has had everything up to `received`: what is newer is sent
  // again. InvalidArgument if that was never sent.
  Status Reconnected(uint64_t received);

  size_t messages() const { return kept_.size(); }
  size_t bytes() const { return bytes_; }
  uint64_t dropped() const { return dropped_; }  // messages, since the beginning
  // All that is unacknowledged, oldest first, sent or not.
  std::vector<Frame> Unacknowledged() const;

 private:
  struct Kept {
    uint64_t sequence = 0;
    std::string payload = {};
    // Of a gap: the first message that was dropped; `sequence` is the last. Gaps stand in front.
    uint64_t gap_first = 0;
  };

  bool Full(size_t more_bytes) const;
  void DropOldest();
  Frame ToFrame(const Kept& kept) const;

  const Channel channel_;
  const ChannelBounds bounds_;
  std::deque<Kept> kept_;
  size_t bytes_ = 0;
  uint64_t last_sequence_ = 0;  // given to the newest message
  uint64_t last_sent_ = 0;      // on the present connection
  uint64_t ever_sent_ = 0;      // on any connection
  uint64_t dropped_ = 0;
};

// Tells new messages from repeated ones.
class Incoming {
 public:
  // True if `sequence` is new: it is counted as received.
  bool Accept(uint64_t sequence);
  uint64_t received() const { return received_; }

 private:
  uint64_t received_ = 0;
};

}  // namespace trainyard::link

#include "common/link/endpoint.h"

#include <algorithm>

namespace trainyard::link {

std::optional<Frame> Endpoint::NextFrame() {
  if (!acks_to_send_.empty()) {
    const auto [channel, sequence] = *acks_to_send_.begin();
    acks_to_send_.erase(acks_to_send_.begin());
    return Frame{.channel = Channel::kLink,
                 .sequence = 0,
                 .payload = Encode(Ack{.channel = channel, .sequence = sequence})};
  }
  for (const Channel channel : {Channel::kControl, Channel::kRollouts, Channel::kTelemetry}) {
    if (std::optional<Frame> frame = out(channel).NextToSend()) return frame;
  }
  return std::nullopt;
}

StatusOr<std::optional<Endpoint::Delivery>> Endpoint::Receive(Frame frame) {
  if (frame.channel == Channel::kLink) {
    ASSIGN_OR_RETURN(const Ack ack, Decode<Ack>(frame.payload));
    if (ack.channel == Channel::kLink) return InvalidArgument("ack.channel: link is not numbered");
    RETURN_IF_ERROR(out(ack.channel).Acknowledged(ack.sequence));
    return std::nullopt;
  }
  if (!in_[static_cast<size_t>(frame.channel)].Accept(frame.sequence)) return std::nullopt;
  return Delivery{
      .channel = frame.channel, .sequence = frame.sequence, .payload = std::move(frame.payload)};
}

void Endpoint::Acknowledge(Channel channel, uint64_t sequence) {
  uint64_t& pending = acks_to_send_[channel];
  pending = std::max(pending, sequence);
}

Status Endpoint::Reconnected(const std::map<Channel, uint64_t>& received) {
  for (const Channel channel : {Channel::kControl, Channel::kTelemetry, Channel::kRollouts}) {
    const auto found = received.find(channel);
    const uint64_t sequence = found == received.end() ? 0 : found->second;
    RETURN_IF_ERROR(out(channel).Reconnected(sequence));
  }
  return OkStatus();
}

std::map<Channel, uint64_t> Endpoint::received() const {
  std::map<Channel, uint64_t> received;
  for (const Channel channel : {Channel::kControl, Channel::kTelemetry, Channel::kRollouts}) {
    received[channel] = in_[static_cast<size_t>(channel)].received();
  }
  return received;
}

}  // namespace trainyard::link

#include "common/link/channel.h"

#include <algorithm>

namespace trainyard::link {

ChannelBounds BoundsOf(Channel channel) {
  switch (channel) {
    case Channel::kLink:
      return {};
    case Channel::kControl:
      return {.messages = 1, .bytes = kMaxPayloadBytes, .in_flight = 1 << 20};
    case Channel::kTelemetry:
      return {.messages = 20'000, .bytes = 16 << 20, .in_flight = 1'000};
    case Channel::kRollouts:
      return {.messages = 4'096, .bytes = 64 << 20, .in_flight = 256};
  }
  return {};
}

bool Outgoing::Full(size_t more_bytes) const {
  return kept_.size() >= bounds_.messages || bytes_ + more_bytes > bounds_.bytes;
}

Status Outgoing::Push(std::string payload) {
  const size_t most = std::min<size_t>(kMaxPayloadBytes, bounds_.bytes);
  if (payload.size() > most) {
    return InvalidArgument("a message of {} bytes; at most {} are allowed", payload.size(), most);
  }
  switch (channel_) {
    case Channel::kLink:
      return Internal("the link channel keeps nothing");
    case Channel::kControl:
      kept_.clear();
      bytes_ = 0;
      break;
    case Channel::kTelemetry:
      // The gap takes a place of its own.
      while (!kept_.empty() && Full(payload.size())) {
        if (kept_.size() == 1 && kept_.front().gap_first != 0) break;
        DropOldest();
      }
      break;
    case Channel::kRollouts:
      if (Full(payload.size())) {
        return ResourceExhausted("{} rollout messages ({} bytes) are not acknowledged yet",
                                 kept_.size(), bytes_);
      }
      break;
  }
  bytes_ += payload.size();
  kept_.push_back({.sequence = ++last_sequence_, .payload = std::move(payload)});
  return OkStatus();
}

void Outgoing::DropOldest() {
  const bool has_gap = kept_.front().gap_first != 0;
  const auto oldest = kept_.begin() + (has_gap ? 1 : 0);
  bytes_ -= oldest->payload.size();
  ++dropped_;
  if (has_gap) {
    kept_.front().sequence = oldest->sequence;
    kept_.erase(oldest);
  } else {
    oldest->gap_first = oldest->sequence;
    oldest->payload.clear();
    // It still has its place: one more must go so that a new message fits.
    if (kept_.size() > 1) DropOldest();
  }
}

Frame Outgoing::ToFrame(const Kept& kept) const {
  if (kept.gap_first == 0) {
    return {.channel = channel_, .sequence = kept.sequence, .payload = kept.payload};
  }
  const TelemetryGap gap{.first_sequence = kept.gap_first, .last_sequence = kept.sequence};
  return {.channel = channel_, .sequence = kept.sequence, .payload = Encode(gap)};
}

std::optional<Frame> Outgoing::NextToSend() {
  const auto next = std::upper_bound(
      kept_.begin(), kept_.end(), last_sent_,
      [](uint64_t sequence, const Kept& kept) { return sequence < kept.sequence; });
  if (next == kept_.end()) return std::nullopt;
  if (static_cast<size_t>(next - kept_.begin()) >= bounds_.in_flight) return std::nullopt;
  last_sent_ = next->sequence;
  ever_sent_ = std::max(ever_sent_, last_sent_);
  return ToFrame(*next);
}

Status Outgoing::Acknowledged(uint64_t sequence) {
  if (sequence > ever_sent_) {
    return InvalidArgument("acknowledges message {}, the newest sent is {}", sequence, ever_sent_);
  }
  while (!kept_.empty() && kept_.front().sequence <= sequence) {
    bytes_ -= kept_.front().payload.size();
    kept_.pop_front();
  }
  return OkStatus();
}

Status Outgoing::Reconnected(uint64_t received) {
  if (received > ever_sent_) {
    return InvalidArgument("has received message {}, the newest sent is {}", received, ever_sent_);
  }
  last_sent_ = received;
  return OkStatus();
}

std::vector<Frame> Outgoing::Unacknowledged() const {
  std::vector<Frame> frames;
  for (const Kept& kept : kept_) frames.push_back(ToFrame(kept));
  return frames;
}

bool Incoming::Accept(uint64_t sequence) {
  if (sequence <= received_) return false;
  received_ = sequence;
  return true;
}

}  // namespace trainyard::link

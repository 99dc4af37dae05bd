#include "common/link/frame.h"

#include "common/crc32c.h"
#include "common/require.h"

namespace trainyard::link {
namespace {

constexpr std::string_view kMagic = "TYL1";
constexpr size_t kCrcOffset = 20;

template <class T>
void PutInteger(std::string* out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out->push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff));
  }
}

template <class T>
T GetInteger(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace

std::string EncodeFrame(const Frame& frame) {
  REQUIRE(frame.payload.size() <= kMaxPayloadBytes);
  std::string bytes(kMagic);
  bytes.reserve(kFrameHeaderBytes + frame.payload.size());
  PutInteger<uint16_t>(&bytes, kFrameVersion);
  PutInteger<uint8_t>(&bytes, static_cast<uint8_t>(frame.channel));
  PutInteger<uint8_t>(&bytes, 0);
  PutInteger<uint64_t>(&bytes, frame.sequence);
  PutInteger<uint32_t>(&bytes, static_cast<uint32_t>(frame.payload.size()));
  PutInteger<uint32_t>(&bytes, Crc32c(frame.payload, Crc32c(bytes)));
  bytes += frame.payload;
  return bytes;
}

Status FrameReader::CheckHeader(std::string_view header) const {
  if (header.substr(0, 4) != kMagic) return InvalidArgument("frame: does not start with TYL1");
  const auto version = GetInteger<uint16_t>(header, 4);
  if (version != kFrameVersion) {
    return InvalidArgument("frame: version {}, this build speaks {}", version, kFrameVersion);
  }
  const auto channel = GetInteger<uint8_t>(header, 6);
  if (channel >= kChannels) return InvalidArgument("frame: channel {} does not exist", channel);
  const auto flags = GetInteger<uint8_t>(header, 7);
  if (flags != 0) return InvalidArgument("frame: flags {:#x} are not known", flags);
  const auto sequence = GetInteger<uint64_t>(header, 8);
  const bool numbered = channel != static_cast<uint8_t>(Channel::kLink);
  if (numbered != (sequence != 0)) {
    return InvalidArgument("frame: sequence {} on channel {}", sequence, channel);
  }
  const auto length = GetInteger<uint32_t>(header, 16);
  if (length > max_payload_bytes_) {
    return InvalidArgument("frame: {} bytes of payload, at most {} are allowed", length,
                           max_payload_bytes_);
  }
  return OkStatus();
}

StatusOr<std::optional<Frame>> FrameReader::Next() {
  RETURN_IF_ERROR(error_);
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  if (rest.size() < kFrameHeaderBytes) return std::nullopt;
  error_ = CheckHeader(rest.substr(0, kFrameHeaderBytes));
  RETURN_IF_ERROR(error_);
  const auto length = GetInteger<uint32_t>(rest, 16);
  if (rest.size() < kFrameHeaderBytes + length) return std::nullopt;
  const std::string_view payload = rest.substr(kFrameHeaderBytes, length);
  const uint32_t crc = Crc32c(payload, Crc32c(rest.substr(0, kCrcOffset)));
  if (crc != GetInteger<uint32_t>(rest, kCrcOffset)) {
    error_ = InvalidArgument("frame: the checksum does not match");
    return error_;
  }
  std::optional<Frame> frame = Frame{.channel = static_cast<Channel>(rest[6]),
                                     .sequence = GetInteger<uint64_t>(rest, 8),
                                     .payload = std::string(payload)};
  at_ += kFrameHeaderBytes + length;
  if (at_ == buffer_.size() || at_ > (1 << 20)) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  return frame;
}

}  // namespace trainyard::link

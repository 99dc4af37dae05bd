// Frames on the socket between agent and trainer. Little endian, 24 bytes of header:
//
//    0  magic "TYL1"
//    4  version   u16  1
//    6  channel   u8   Channel
//    7  flags     u8   0
//    8  sequence  u64  counts from 1 per channel; 0 on the link channel
//   16  length    u32  of the payload, at most 16 MiB
//   20  crc       u32  CRC-32C of bytes 0..19 and the payload
//   24  payload        a CBOR map (messages.h)
//
// Anything else is an error that names the rule; the connection is then closed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::link {

inline constexpr size_t kFrameHeaderBytes = 24;
inline constexpr uint32_t kMaxPayloadBytes = 16 << 20;
inline constexpr uint16_t kFrameVersion = 1;

struct Frame {
  Channel channel = Channel::kLink;
  uint64_t sequence = 0;
  std::string payload = {};
};

// The payload has at most kMaxPayloadBytes.
std::string EncodeFrame(const Frame& frame);

// Cuts a stream of bytes into frames. Holds at most one frame and what was appended since; a bad
// header is found before its payload is waited for.
class FrameReader {
 public:
  explicit FrameReader(uint32_t max_payload_bytes = kMaxPayloadBytes)
      : max_payload_bytes_(max_payload_bytes) {}

  // Frames to come may be larger, or must be smaller.
  void set_max_payload_bytes(uint32_t bytes) { max_payload_bytes_ = bytes; }
  void Append(std::string_view bytes) { buffer_.append(bytes); }
  // The next whole frame; nullopt: more bytes are needed. After an error every call returns it.
  StatusOr<std::optional<Frame>> Next();
  // Bytes that belong to no whole frame yet.
  size_t pending_bytes() const { return buffer_.size() - at_; }

 private:
  Status CheckHeader(std::string_view header) const;

  uint32_t max_payload_bytes_;
  std::string buffer_;
  size_t at_ = 0;  // start of the next frame in buffer_
  Status error_;
};

}  // namespace trainyard::link

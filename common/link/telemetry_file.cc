#include "common/link/telemetry_file.h"

#include "common/files.h"

namespace trainyard::link {

Status WriteTelemetryFile(const std::filesystem::path& path, const std::vector<Frame>& frames) {
  std::string bytes;
  for (const Frame& frame : frames) bytes += EncodeFrame(frame);
  return WriteFileAtomically(path, bytes);
}

StatusOr<std::vector<NumberedTelemetry>> ReadTelemetryFile(const std::filesystem::path& path) {
  constexpr int64_t kMaxFileBytes = 64 << 20;
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
  FrameReader reader;
  reader.Append(bytes);
  std::vector<NumberedTelemetry> messages;
  Status damage;
  while (damage.ok()) {
    StatusOr<std::optional<Frame>> frame = reader.Next();
    if (!frame.ok()) {
      damage = frame.status();
    } else if (!frame->has_value()) {
      if (reader.pending_bytes() > 0) damage = InvalidArgument("cut short");
      break;
    } else if (StatusOr<Telemetry> message = DecodeTelemetry((*frame)->payload); message.ok()) {
      messages.push_back({.sequence = (*frame)->sequence, .message = *std::move(message)});
    } else {
      damage = message.status();
    }
  }
  if (!damage.ok() && messages.empty()) {
    return DataLoss("{}: byte {}: {}", path.string(), bytes.size() - reader.pending_bytes(),
                    MessageOf(damage));
  }
  return messages;
}

}  // namespace trainyard::link

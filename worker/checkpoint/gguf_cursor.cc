#include "worker/checkpoint/gguf_cursor.h"

#include <algorithm>

namespace trainyard::worker {

Status GgufCursor::Take(std::span<std::byte> bytes) {
  constexpr int64_t kBufferBytes = int64_t{1} << 16;
  if (static_cast<int64_t>(bytes.size()) > left())
    return DataLoss("at byte {}, {} bytes are needed but {} are left", place_, bytes.size(),
                    left());
  while (!bytes.empty()) {
    if (used_ == buffer_.size()) {
      buffer_.resize(static_cast<size_t>(std::min(kBufferBytes, left())));
      used_ = 0;
      RETURN_IF_ERROR(read_at_(place_, buffer_));
    }
    const size_t n = std::min(bytes.size(), buffer_.size() - used_);
    std::memcpy(bytes.data(), buffer_.data() + used_, n);
    bytes = bytes.subspan(n);
    used_ += n;
    place_ += static_cast<int64_t>(n);
  }
  return OkStatus();
}

StatusOr<std::string> GgufCursor::Text(int64_t bytes_max) {
  ASSIGN_OR_RETURN(const uint64_t length, Number<uint64_t>());
  if (length > static_cast<uint64_t>(std::min(bytes_max, left())))
    return DataLoss("at byte {}, a string announces {} bytes; {} are left and {} allowed", place_,
                    length, left(), bytes_max);
  std::string text(length, '\0');
  RETURN_IF_ERROR(Take(std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace trainyard::worker

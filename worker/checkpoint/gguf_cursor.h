// Reads numbers and strings one after the other from a GGUF file's head, a buffer at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "common/status.h"
#include "worker/checkpoint/gguf_header.h"

namespace trainyard::worker {

class GgufCursor {
 public:
  // Nothing from byte `end` on is read: DataLoss.
  GgufCursor(const ReadBytesAt& read_at, int64_t end) : read_at_(read_at), end_(end) {}

  int64_t place() const { return place_; }  // bytes read
  int64_t left() const { return end_ - place_; }

  // Little-endian, as it stands.
  template <class T>
  StatusOr<T> Number() {
    T number;
    RETURN_IF_ERROR(Take(std::as_writable_bytes(std::span(&number, 1))));
    return number;
  }
  // Its length in 64 bits, then its bytes. DataLoss when it is longer than `bytes_max` or the rest.
  StatusOr<std::string> Text(int64_t bytes_max);

 private:
  Status Take(std::span<std::byte> bytes);

  const ReadBytesAt& read_at_;
  const int64_t end_;
  int64_t place_ = 0;
  std::vector<std::byte> buffer_;
  size_t used_ = 0;  // bytes of the buffer already taken
};

}  // namespace trainyard::worker

// Unix sockets that carry frames: non-blocking, bounded, same user only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/files.h"
#include "common/link/frame.h"
#include "common/status.h"

namespace trainyard::link {

// Listens on `path`, whose folder must be this user's and closed to others (0700); a socket that an
// earlier process left there is removed. Paths may be longer than the 107 bytes of a sockaddr.
StatusOr<UniqueFd> ListenOn(const std::filesystem::path& path);

// Unavailable when nobody listens there (now).
StatusOr<UniqueFd> Dial(const std::filesystem::path& path);

// PermissionDenied when the process at the other end is another user's (SO_PEERCRED).
Status CheckPeerUser(int fd);

// Wakes a thread that polls its fd. Thread-safe.
class WakeFd {
 public:
  static StatusOr<WakeFd> Create();
  void Wake();
  void Clear();
  int fd() const { return fd_.get(); }

 private:
  explicit WakeFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// One connection. Not thread-safe: the thread that polls owns it.
class FrameSocket {
 public:
  // Frames that arrive may have so many bytes of payload at first; larger ones once the other side
  // has proved who it is.
  FrameSocket(UniqueFd fd, uint32_t max_payload_bytes)
      : fd_(std::move(fd)), reader_(max_payload_bytes) {}

  int fd() const { return fd_.get(); }
  void set_max_payload_bytes(uint32_t bytes) { reader_.set_max_payload_bytes(bytes); }

  // Takes what has arrived, at most 256 KiB. Unavailable when the other side has closed.
  Status Read();
  // As FrameReader::Next.
  StatusOr<std::optional<Frame>> Next() { return reader_.Next(); }

  void Queue(const Frame& frame) { out_ += EncodeFrame(frame); }
  // Whether another frame should be queued: at most 256 KiB wait.
  bool HasRoom() const { return out_.size() - written_ < kMaxQueuedBytes; }
  bool WantsWrite() const { return written_ < out_.size(); }
  // Writes what the socket takes. Unavailable when the other side has closed.
  Status Write();

 private:
  static constexpr size_t kMaxQueuedBytes = 256 << 10;

  UniqueFd fd_;
  FrameReader reader_;
  std::string out_;
  size_t written_ = 0;
};

}  // namespace trainyard::link

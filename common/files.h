// Bytes on a disk: reading whole files, replacing one atomically, hashing. Every path in an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace trainyard {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Close(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Close();

 private:
  int fd_ = -1;
};

// The whole file. InvalidArgument when it is larger than `max_bytes`; NotFound when absent.
StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                               int64_t max_bytes = int64_t{1} << 30);

// Replaces `path` so that a reader sees the old bytes or the new ones, also after a power cut:
// temporary file in the same folder, fsync, rename, fsync of the folder.
Status WriteFileAtomically(const std::filesystem::path& path, std::string_view bytes);

// fsync of a file or folder.
Status SyncPath(const std::filesystem::path& path);

// mkdir -p; the new folders get mode 0700.
Status MakeFolders(const std::filesystem::path& path);

// Writes all bytes, through short writes and EINTR.
Status WriteAll(int fd, std::string_view bytes, std::string_view what);

// SHA-256, lower-case hex (64 characters).
std::string Sha256(std::string_view bytes);
StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path);

// The same, fed piece by piece.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;
  void Add(std::string_view bytes);
  // The digest so far in hex; the stream cannot be fed afterwards.
  std::string Finish();

 private:
  void* context_;
};

// HMAC-SHA-256 in hex, and a comparison that takes the same time wherever the strings differ.
std::string HmacSha256(std::string_view key, std::string_view message);
bool ConstantTimeEquals(std::string_view a, std::string_view b);

// `n` bytes from the operating system's generator, in hex: for secrets and ids only.
std::string RandomHex(int n_bytes);

// The offset of the first byte that is not valid UTF-8 (overlong forms, surrogates and values past
// U+10FFFF included), or npos.
size_t FindInvalidUtf8(std::string_view text);

}  // namespace trainyard

#include "worker/agent/log_tail.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace trainyard::worker {
namespace {

// Holes are made of whole blocks; 64 KiB is a multiple of every file system's block size.
constexpr int64_t kBlock = 65536;
int64_t RoundDown(int64_t offset) { return offset / kBlock * kBlock; }
int64_t RoundUp(int64_t offset) { return RoundDown(offset + kBlock - 1); }

}  // namespace

StatusOr<int64_t> LogTail::Length() {
  if (!fd_.valid()) {
    fd_ = UniqueFd(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd_.valid() && errno == ENOENT) return int64_t{0};
    if (!fd_.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path_.string()));
  }
  struct stat info;
  if (::fstat(fd_.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path_.string()));
  if (!S_ISREG(info.st_mode)) return InvalidArgument("{} is no regular file", path_.string());
  return int64_t{info.st_size};
}

Status LogTail::Punch(int64_t from, int64_t to) {
  if (to <= from) return OkStatus();
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) == 0)
    return OkStatus();
  // A file system without holes: the log is then bounded only by the trainer's lifetime.
  if (errno == EOPNOTSUPP) return OkStatus();
  return ErrnoStatus(errno, fmt::format("cannot give back blocks of {}", path_.string()));
}

StatusOr<std::optional<LogPiece>> LogTail::Read(int64_t max_bytes) {
  ASSIGN_OR_RETURN(const int64_t length, Length());
  if (length < next_.file) next_.file = punched_ = 0;  // truncated: what is there now is new
  if (length == next_.file) return std::nullopt;
  const off_t data = ::lseek(fd_.get(), next_.file, SEEK_DATA);
  if (data < 0 && errno != ENXIO)
    return ErrnoStatus(errno, fmt::format("cannot find data in {}", path_.string()));
  const int64_t data_at = data < 0 ? length : int64_t{data};
  LogPiece piece;
  piece.stored_offset = next_.stored;
  if (data_at > next_.file) {  // a hole: bytes that were dropped
    piece.bytes = std::string(kDroppedLogLine);
    next_ = {next_.stored + static_cast<int64_t>(piece.bytes.size()), data_at};
    piece.end = next_;
    return piece;
  }
  const off_t hole = ::lseek(fd_.get(), next_.file, SEEK_HOLE);
  const int64_t stop = hole < 0 ? length : std::min<int64_t>(length, hole);
  piece.bytes.resize(static_cast<size_t>(std::min(max_bytes, stop - next_.file)));
  const ssize_t n = ::pread(fd_.get(), piece.bytes.data(), piece.bytes.size(), next_.file);
  if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path_.string()));
  if (n == 0) return std::nullopt;
  piece.bytes.resize(static_cast<size_t>(n));
  next_ = {next_.stored + n, next_.file + n};
  piece.end = next_;
  return piece;
}

Status LogTail::Release(const LogPlace& place) {
  const int64_t to = RoundDown(std::min(place.file, next_.file));
  const int64_t from = RoundDown(punched_);
  if (to <= from || !fd_.valid()) return OkStatus();
  RETURN_IF_ERROR(Punch(from, to));
  punched_ = to;
  return OkStatus();
}

StatusOr<int64_t> LogTail::Bound() {
  ASSIGN_OR_RETURN(const int64_t length, Length());
  if (!fd_.valid() || length < next_.file) return int64_t{0};
  // Look behind an earlier hole that is not read yet: it grows at its end.
  struct stat info;
  if (::fstat(fd_.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path_.string()));
  const int64_t before = int64_t{info.st_blocks} * 512;
  if (std::min(before, length - next_.file) <= retained_bytes_max_) return int64_t{0};
  // The oldest half says how it began, the newest quarter how it ended.
  const int64_t from = RoundUp(next_.file + retained_bytes_max_ / 2);
  const int64_t to = RoundDown(length - retained_bytes_max_ / 4);
  RETURN_IF_ERROR(Punch(from, to));
  if (::fstat(fd_.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot look at {}", path_.string()));
  return std::max<int64_t>(0, before - int64_t{info.st_blocks} * 512);
}

StatusOr<bool> LogTail::AtEnd() {
  ASSIGN_OR_RETURN(const int64_t length, Length());
  return length == next_.file;
}

}  // namespace trainyard::worker

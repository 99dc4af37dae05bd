#include "common/lock_owner.h"

#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "common/files.h"

namespace trainyard {

Status WriteLockOwner(int fd, const std::filesystem::path& path) {
  if (::ftruncate(fd, 0) != 0)
    return ErrnoStatus(errno, fmt::format("cannot write {}", path.string()));
  return WriteAll(fd, std::to_string(::getpid()), path.string());
}

std::string DescribeLockOwner(const std::filesystem::path& path) {
  const std::string text = ReadFile(path, 64).value_or("");
  int64_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || pid <= 0) return "an unknown process";
  // The owner writes the file once, when it gets the lock.
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return fmt::format("process {}", pid);
  return fmt::format(
      "process {}, since {} UTC", pid,
      absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromTimeT(info.st_mtime), absl::UTCTimeZone()));
}

std::optional<std::string> LockHolder(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid() || ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return std::nullopt;
  return DescribeLockOwner(path);
}

}  // namespace trainyard

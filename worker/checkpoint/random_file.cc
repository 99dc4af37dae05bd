#include "worker/checkpoint/random_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "common/lfs_pointer.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kPointerBytesMax = 64;  // that tell a Git LFS pointer

}  // namespace

StatusOr<RandomFile> RandomFile::Open(const std::filesystem::path& path) {
  RandomFile file;
  file.path_ = path;
  // A pipe of that name must not hold us up.
  file.fd_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (!file.fd_.valid() || ::fstat(file.fd_.get(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  if (!S_ISREG(info.st_mode)) return InvalidArgument("{} is not a file", path.string());
  file.size_ = info.st_size;
  std::string beginning(static_cast<size_t>(std::min(file.size_, kPointerBytesMax)), '\0');
  RETURN_IF_ERROR(file.ReadAt(0, std::as_writable_bytes(std::span(beginning))));
  RETURN_IF_ERROR(RefuseLfsPointer(path.string(), beginning));
  return file;
}

Status RandomFile::ReadAt(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::pread(fd_.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path_.string()));
    if (n == 0) return DataLoss("{} became shorter while it was read", path_.string());
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
  return OkStatus();
}

}  // namespace trainyard::worker

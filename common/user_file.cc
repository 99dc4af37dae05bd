#include "common/user_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "common/files.h"
#include "common/replace_file.h"

namespace trainyard {
namespace {

// Into what stands there, or what a link leads to.
Status WriteThrough(const std::filesystem::path& path, std::string_view bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot write {}", path.string()));
  RETURN_IF_ERROR(WriteAll(fd.get(), bytes, path.string()));
  struct stat info;
  if (::fstat(fd.get(), &info) == 0 && S_ISREG(info.st_mode) && ::fsync(fd.get()) != 0)
    return ErrnoStatus(errno, fmt::format("cannot sync {}", path.string()));
  return OkStatus();
}

}  // namespace

Status WriteUserFile(const std::filesystem::path& path, std::string_view bytes) {
  struct stat old;
  const bool stands = ::lstat(path.c_str(), &old) == 0;
  if (stands && S_ISDIR(old.st_mode))
    return InvalidArgument("{} is a folder; name the file to make in it", path.string());
  if (stands && !S_ISREG(old.st_mode)) return WriteThrough(path, bytes);
  const std::string temporary = path.string() + ".tmp-" + RandomHex(4);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd.valid()) {
    const bool no_new_file = errno == EACCES || errno == EPERM || errno == EROFS;
    if (stands && no_new_file) return WriteThrough(path, bytes);
    return ErrnoStatus(errno, fmt::format("cannot create {}", path.string()));
  }
  if (stands && ::fchmod(fd.get(), old.st_mode & 07777) != 0) {
    ::unlink(temporary.c_str());
    return ErrnoStatus(errno, fmt::format("cannot give {} its old mode", path.string()));
  }
  return ReplaceFile(path, bytes, temporary, std::move(fd));
}

bool IsTaken(const std::filesystem::path& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

}  // namespace trainyard

#include "common/replace_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace trainyard {

Status ReplaceFile(const std::filesystem::path& path, std::string_view bytes,
                   const std::string& temporary, UniqueFd fd) {
  Status status = WriteAll(fd.get(), bytes, path.string());
  if (status.ok() && ::fsync(fd.get()) != 0)
    status = ErrnoStatus(errno, fmt::format("cannot sync {}", temporary));
  fd.Close();
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = ErrnoStatus(errno, fmt::format("cannot rename {} to {}", temporary, path.string()));
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return SyncPath(path.has_parent_path() ? path.parent_path() : ".");
}

}  // namespace trainyard

#include "common/file_pieces.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "common/files.h"
#include "common/lfs_pointer.h"

namespace trainyard {

Status ForEachPiece(const std::filesystem::path& path,
                    const std::function<Status(std::string_view piece)>& use) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  std::string piece(size_t{1} << 20, '\0');
  for (bool first = true;; first = false) {
    const ssize_t n = ::read(fd.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, fmt::format("cannot read {}", path.string()));
    if (n == 0) return OkStatus();
    const std::string_view read(piece.data(), static_cast<size_t>(n));
    if (first) RETURN_IF_ERROR(RefuseLfsPointer(path.string(), read));
    RETURN_IF_ERROR(use(read));
  }
}

}  // namespace trainyard

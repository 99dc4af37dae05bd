#include "common/lfs_pointer.h"

namespace trainyard {

Status RefuseLfsPointer(std::string_view name, std::string_view beginning) {
  if (!beginning.starts_with("version https://git-lfs.github.com/spec/")) return OkStatus();
  return InvalidArgument(
      "{} is a Git LFS pointer, not the file that it stands for: fetch that with git lfs pull, in "
      "the folder of the clone",
      name);
}

}  // namespace trainyard

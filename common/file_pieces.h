// A file read from its begin to its end.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "common/status.h"

namespace trainyard {

// Calls `use` with every piece of the file (1 MiB), in order; its error ends the reading and is
// returned. A Git LFS pointer is refused as one (lfs_pointer.h).
Status ForEachPiece(const std::filesystem::path& path,
                    const std::function<Status(std::string_view piece)>& use);

}  // namespace trainyard

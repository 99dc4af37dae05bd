// The one end of every atomic write of a file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "common/files.h"
#include "common/status.h"

namespace trainyard {

// Writes `bytes` to `temporary`, a new file in the folder of `path` that `fd` has open, and gives
// it the name `path` once the disk has it: fsync, rename, fsync of the folder. After an error
// before the rename `path` is as it was and `temporary` is gone.
Status ReplaceFile(const std::filesystem::path& path, std::string_view bytes,
                   const std::string& temporary, UniqueFd fd);

}  // namespace trainyard

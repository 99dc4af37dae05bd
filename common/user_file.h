// Places that a user named for something to be written to.
#pragma once

#include <filesystem>
#include <string_view>

#include "common/status.h"

namespace trainyard {

// Writes what a user asked for to the place that was named. Where nothing or a regular file stands,
// a new file is renamed into place, with the mode that the umask or the old file gives; where the
// folder takes no new file, the old one is written in place. A device, a pipe (which waits for its
// reader) or a link is written through and stays what it is.
//   InvalidArgument    it is a folder
//   NotFound           its folder is not there
//   ResourceExhausted  there is no room
Status WriteUserFile(const std::filesystem::path& path, std::string_view bytes);

// Whether something stands at `path`; a link that leads nowhere does.
bool IsTaken(const std::filesystem::path& path);

}  // namespace trainyard

// What stands in the place of a file that Git LFS has not fetched.
#pragma once

#include <string_view>

#include "common/status.h"

namespace trainyard {

// InvalidArgument when `beginning`, of the file called `name`, is such a pointer
// (git-lfs/docs/spec.md: "version https://git-lfs.github.com/spec/v1", an oid and a size). Whatever
// reads a user's file asks it: ReadFile and Sha256OfFile do.
Status RefuseLfsPointer(std::string_view name, std::string_view beginning);

}  // namespace trainyard

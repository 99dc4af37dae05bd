// A job's data on the machine of the one who submits it: paths become digests. No one else ever
// opens these paths.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/job_spec/job_spec.h"
#include "common/status.h"

namespace trainyard {

struct LocalFile {
  std::filesystem::path path;
  int64_t size_bytes = 0;
};
using LocalFiles = std::map<std::string, LocalFile>;  // by SHA-256

// The regular files that a path or glob (~ and {a,b} included) names, in order of their names.
// NotFound when there are none.
StatusOr<std::vector<std::filesystem::path>> ExpandDataPath(const std::string& pattern);

// Fills in `files` of every source that has a path. Errors carry the source's field:
//   NotFound         a path matches no file
//   InvalidArgument  a file is empty
StatusOr<LocalFiles> DigestLocalData(JobSpec& spec);

}  // namespace trainyard

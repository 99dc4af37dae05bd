// A job's data, model and tokenizer on the machine of the one who submits it: paths become digests.
// No one else ever opens these paths.
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

// Fills in `files` of every source that has a path, of model.from unless it names a job's
// checkpoint, and of tokenizer.from. Errors carry the field:
//   NotFound         a path matches no file, or a model's folder lacks one
//   InvalidArgument  a file is empty, or is no part of a model
StatusOr<LocalFiles> DigestLocalData(JobSpec& spec);

}  // namespace trainyard

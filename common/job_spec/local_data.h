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

// The files that a data path means, in order of their names:
//   * a file or folder that is there by exactly this name, whatever characters it has,
//   * else those that it matches as a glob (~ and {a,b} included). A folder that is there by
//   exactly
//     its name may have a glob's characters too: "notes [2024]/*.txt".
// Of a folder, named or matched, the texts in it and below it (NamesText), without hidden ones.
// NotFound when there are none; InvalidArgument when there are more than kDataFilesMax.
struct DataFiles {
  std::vector<std::filesystem::path> paths;
  std::vector<std::string> notes;  // what was found in a folder and is not read
};
constexpr size_t kDataFilesMax = 10'000;
StatusOr<DataFiles> ExpandDataPath(const std::string& pattern);

// Fills in `files` of every source that has a path, of model.from unless it names a job's
// checkpoint, and of tokenizer.from. A source whose path is not there keeps the files it has from
// an earlier submit. `notes` (may be null) gets what a user should know. Errors carry the field:
//   NotFound         a path matches no file, or a model's folder lacks one
//   InvalidArgument  a file is empty, or is no part of a model
StatusOr<LocalFiles> DigestLocalData(JobSpec& spec, std::vector<std::string>* notes = nullptr);

// Reads every document of the spec's sources as training would; those that are not in `files` were
// uploaded before. The error is that of ReadDocuments, with the source's field.
Status CheckLocalDocuments(const JobSpec& spec, const LocalFiles& files);

}  // namespace trainyard

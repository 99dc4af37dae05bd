#include "common/job_spec/local_data.h"

#include <glob.h>

#include <system_error>

#include "common/files.h"
#include "common/job_spec/local_model.h"

namespace trainyard {
namespace {

// Describes the files in `refs`, and keeps where they lie in `files`.
Status Digest(const std::vector<std::filesystem::path>& paths, const std::string& field,
              std::vector<BlobRef>& refs, LocalFiles& files) {
  refs.clear();
  for (const std::filesystem::path& path : paths) {
    std::error_code error;
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
    if (error) return ErrnoStatus(error.value(), path.string());
    if (size == 0) {
      return InvalidArgument("{} is empty; remove it or leave it out of {}", path.string(), field);
    }
    ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
    refs.push_back({ModelFileName(path), sha256, size});
    files[sha256] = {path, size};
  }
  return OkStatus();
}

Status DigestSource(DataSource& source, const std::string& field, LocalFiles& files) {
  ASSIGN_OR_RETURN(const auto paths, ExpandDataPath(source.path));
  return Digest(paths, field, source.files, files);
}

// A model or tokenizer; `find` says which files it is made of.
template <class Find>
Status DigestFrom(const std::string& from, const std::string& field, Find find,
                  std::vector<BlobRef>& refs, LocalFiles& files) {
  if (from.empty() || NamesCheckpoint(from)) return OkStatus();
  const auto paths = find(from);
  Status digested = paths.status();
  if (digested.ok()) digested = Digest(*paths, field, refs, files);
  return digested.ok() ? digested : WithField(Annotate(digested, field), field);
}

}  // namespace

StatusOr<std::vector<std::filesystem::path>> ExpandDataPath(const std::string& pattern) {
  glob_t found;
  const int result = ::glob(pattern.c_str(), GLOB_TILDE | GLOB_BRACE, nullptr, &found);
  std::vector<std::filesystem::path> paths;
  for (size_t i = 0; result == 0 && i < found.gl_pathc; ++i) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(found.gl_pathv[i], ignored)) {
      paths.emplace_back(found.gl_pathv[i]);
    }
  }
  ::globfree(&found);
  if (paths.empty()) {
    std::error_code ignored;
    return NotFound("data path {} matches no file (looked from {})", pattern,
                    std::filesystem::current_path(ignored).string());
  }
  return paths;
}

StatusOr<LocalFiles> DigestLocalData(JobSpec& spec) {
  LocalFiles files;
  const auto digest = [&](std::vector<DataSource>& sources, std::string_view list) -> Status {
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].path.empty()) continue;  // digests were given
      const std::string field = fmt::format("data.{}[{}].path", list, i);
      const Status digested = DigestSource(sources[i], field, files);
      if (!digested.ok()) return WithField(digested, field);
    }
    return OkStatus();
  };
  RETURN_IF_ERROR(digest(spec.data.train, "train"));
  RETURN_IF_ERROR(digest(spec.data.validation, "validation"));
  RETURN_IF_ERROR(
      DigestFrom(spec.model.from, "model.from", FindModelFiles, spec.model.files, files));
  RETURN_IF_ERROR(DigestFrom(spec.tokenizer.from, "tokenizer.from", FindTokenizerFiles,
                             spec.tokenizer.files, files));
  return files;
}

}  // namespace trainyard

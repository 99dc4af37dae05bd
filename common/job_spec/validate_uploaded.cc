// ValidateUploaded of validate.h: what submit fills in.
#include <set>

#include "common/job_spec/local_model.h"
#include "common/job_spec/validate.h"

namespace trainyard {
namespace {

bool IsDigest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Status CheckDigests(const std::vector<BlobRef>& files, const std::string& path) {
  for (size_t i = 0; i < files.size(); ++i) {
    if (IsDigest(files[i].sha256)) continue;
    const std::string digest = fmt::format("{}[{}].sha256", path, i);
    return WithField(InvalidArgument("{}: wants 64 lower-case hex characters", digest), digest);
  }
  return OkStatus();
}

Status MissingFiles(const std::string& path, const std::string& from) {
  return WithField(InvalidArgument("{}: empty; submit uploads the files of {} and names their "
                                   "digests here",
                                   path, from),
                   path);
}

Status CheckSources(const std::vector<DataSource>& sources, const char* list) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string path = fmt::format("{}[{}].files", list, i);
    if (sources[i].files.empty()) return MissingFiles(path, sources[i].path);
    RETURN_IF_ERROR(CheckDigests(sources[i].files, path));
  }
  return OkStatus();
}

// The files of a model or tokenizer: there when `from` names one, and files of one folder.
Status CheckNamed(const std::string& from, const std::vector<BlobRef>& files,
                  const std::string& group) {
  const std::string path = group + ".files";
  if (files.empty() && !from.empty()) return MissingFiles(path, from);
  if (from.empty() && !files.empty())
    return WithField(InvalidArgument("{}: names files, but {}.from names nothing", path, group),
                     path);
  std::set<std::string> names;
  for (size_t i = 0; i < files.size(); ++i) {
    if (IsModelFileName(files[i].name) && names.insert(files[i].name).second) continue;
    const std::string name = fmt::format("{}[{}].name", path, i);
    return WithField(InvalidArgument("{}: \"{}\" is no plain file name, or is there twice", name,
                                     files[i].name.substr(0, 200)),
                     name);
  }
  return CheckDigests(files, path);
}

}  // namespace

Status ValidateUploaded(const JobSpec& spec) {
  RETURN_IF_ERROR(CheckSources(spec.data.train, "data.train"));
  RETURN_IF_ERROR(CheckSources(spec.data.validation, "data.validation"));
  RETURN_IF_ERROR(CheckNamed(spec.model.from, spec.model.files, "model"));
  return CheckNamed(spec.tokenizer.from, spec.tokenizer.files, "tokenizer");
}

}  // namespace trainyard

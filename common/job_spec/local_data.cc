#include "common/job_spec/local_data.h"

#include <glob.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "common/documents/text_reader.h"
#include "common/files.h"
#include "common/job_spec/local_model.h"

namespace trainyard {
namespace {

namespace fs = std::filesystem;

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

Status DigestSource(DataSource& source, const std::string& field, LocalFiles& files,
                    std::vector<std::string>* notes) {
  const StatusOr<DataFiles> found = ExpandDataPath(source.path);
  if (absl::IsNotFound(found.status()) && !source.files.empty()) {
    if (notes != nullptr)
      notes->push_back(fmt::format("{}: {} is not here; its files of the earlier submit are taken",
                                   field, source.path));
    return OkStatus();
  }
  RETURN_IF_ERROR(found.status());
  if (notes != nullptr) notes->insert(notes->end(), found->notes.begin(), found->notes.end());
  const std::vector<BlobRef> before = source.files;
  RETURN_IF_ERROR(Digest(found->paths, field, source.files, files));
  const auto same = [](const BlobRef& a, const BlobRef& b) { return a.sha256 == b.sha256; };
  if (notes != nullptr && !before.empty() &&
      !std::equal(before.begin(), before.end(), source.files.begin(), source.files.end(), same))
    notes->push_back(fmt::format("{}: {} has changed since the earlier submit; it is read anew",
                                 field, source.path));
  return OkStatus();
}

// A model or tokenizer; `find` says which files it is made of.
template <class Find>
Status DigestFrom(const std::string& from, const std::string& field, Find find,
                  std::vector<BlobRef>& refs, LocalFiles& files) {
  if (from.empty() || NamesCheckpoint(from)) return OkStatus();
  std::error_code ignored;
  if (!refs.empty() && !fs::exists(from, ignored)) return OkStatus();  // of an earlier submit
  const auto paths = find(from);
  Status digested = paths.status();
  if (digested.ok()) digested = Digest(*paths, field, refs, files);
  return digested.ok() ? digested : WithField(Annotate(digested, field), field);
}

Status TooMany(const std::string& where) {
  return InvalidArgument(
      "{} holds more than {} files: name fewer, or put many texts into one file "
      "of JSON lines",
      where, kDataFilesMax);
}

// The texts in a folder and below it. Links to files are followed, links to folders are not, so
// that the walk ends.
Status AddFolder(const fs::path& folder, DataFiles* files) {
  std::vector<fs::path> texts;
  std::string passed_over;  // the first one
  int64_t n_passed_over = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    const std::string name = entry->path().filename().string();
    if (name.starts_with('.')) {
      if (entry->is_directory(ignored)) entry.disable_recursion_pending();
    } else if (!entry->is_regular_file(ignored)) {
      continue;
    } else if (NamesText(name)) {
      texts.push_back(entry->path());
      if (texts.size() > kDataFilesMax) return TooMany(folder.string());
    } else if (n_passed_over++ == 0) {
      passed_over = entry->path().string();
    }
  }
  if (error) return ErrnoStatus(error.value(), fmt::format("cannot read {}", folder.string()));
  if (texts.empty())
    return NotFound(
        "{} holds no .txt, .text, .md, .jsonl, .ndjson or .json file (also with .gz "
        "behind); name others by a glob, for example {}",
        folder.string(), (folder / "*.log").string());
  std::sort(texts.begin(), texts.end());
  files->paths.insert(files->paths.end(), texts.begin(), texts.end());
  if (n_passed_over > 0)
    files->notes.push_back(
        fmt::format("of {} {} texts are read; {} other files are not, such as {}", folder.string(),
                    texts.size(), n_passed_over, passed_over));
  return OkStatus();
}

Status AddPath(const fs::path& path, DataFiles* files) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return AddFolder(path, files);
  if (fs::is_regular_file(path, ignored)) files->paths.push_back(path);
  return files->paths.size() > kDataFilesMax ? TooMany(path.parent_path().string()) : OkStatus();
}

// With a backslash before each character that a glob would read.
std::string Escaped(const std::string& name) {
  std::string escaped;
  for (const char c : name) {
    if (std::string_view("*?[]{}~\\").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// The pattern, in which the folders that are there by exactly their names mean those.
std::string WithPlainFolders(const std::string& pattern) {
  std::error_code ignored;
  for (size_t slash = pattern.rfind('/'); slash != std::string::npos && slash > 0;
       slash = pattern.rfind('/', slash - 1)) {
    const std::string folder = pattern.substr(0, slash);
    if (fs::is_directory(folder, ignored)) return Escaped(folder) + pattern.substr(slash);
  }
  return pattern;
}

// A name as people write those of models and data sets on the Hugging Face Hub.
std::string HubHint(const std::string& name) {
  if (!LooksLikeHubName(name)) return "";
  return fmt::format(
      "; nothing is fetched from the Hugging Face Hub: for the data set of this name run `hf "
      "download --repo-type dataset {} --local-dir data`, then give path: data",
      name);
}

}  // namespace

StatusOr<DataFiles> ExpandDataPath(const std::string& pattern) {
  DataFiles files;
  std::error_code ignored;
  if (fs::exists(pattern, ignored)) {
    RETURN_IF_ERROR(AddPath(pattern, &files));
    if (files.paths.empty())
      return InvalidArgument("data path {} is neither a file nor a folder", pattern);
    return files;
  }
  glob_t found;
  const int result =
      ::glob(WithPlainFolders(pattern).c_str(), GLOB_TILDE | GLOB_BRACE, nullptr, &found);
  Status added;
  for (size_t i = 0; result == 0 && added.ok() && i < found.gl_pathc; ++i) {
    const fs::path path = found.gl_pathv[i];
    // A glob that also catches a folder, as * does, means the files beside it.
    if (found.gl_pathc == 1 || !fs::is_directory(path, ignored)) added = AddPath(path, &files);
  }
  ::globfree(&found);
  RETURN_IF_ERROR(added);
  if (files.paths.empty()) {
    return NotFound("data path {} matches no file (looked from {}){}", pattern,
                    fs::current_path(ignored).string(), HubHint(pattern));
  }
  return files;
}

StatusOr<LocalFiles> DigestLocalData(JobSpec& spec, std::vector<std::string>* notes) {
  LocalFiles files;
  const auto digest = [&](std::vector<DataSource>& sources, std::string_view list) -> Status {
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].path.empty()) continue;  // digests were given
      const std::string field = fmt::format("data.{}[{}].path", list, i);
      const Status digested = DigestSource(sources[i], field, files, notes);
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

Status CheckLocalDocuments(const JobSpec& spec, const LocalFiles& files) {
  const DocumentSink sink = {.text = [](std::string_view) { return OkStatus(); },
                             .end = [] { return OkStatus(); }};
  std::set<std::string> checked;  // digest, format and key
  const auto check = [&](const std::vector<DataSource>& sources, std::string_view list) -> Status {
    for (size_t i = 0; i < sources.size(); ++i) {
      const DataSource& source = sources[i];
      for (const BlobRef& ref : source.files) {
        const auto file = files.find(ref.sha256);
        if (file == files.end()) continue;
        ASSIGN_OR_RETURN(const TextFormat format, FormatOf(source.format, ref.name));
        const std::string how =
            fmt::format("{} {} {}", ref.sha256, static_cast<int>(format), source.text_field);
        if (!checked.insert(how).second) continue;
        const fs::path& path = file->second.path;
        const Status read = ReadDocuments({path, path.string()}, format, source.text_field, sink);
        if (!read.ok()) return WithField(read, fmt::format("data.{}[{}].path", list, i));
      }
    }
    return OkStatus();
  };
  RETURN_IF_ERROR(check(spec.data.train, "train"));
  return check(spec.data.validation, "validation");
}

}  // namespace trainyard

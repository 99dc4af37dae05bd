#include "cli/upload.h"

#include <glob.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

#include "cli/output.h"
#include "common/files.h"

namespace trainyard::cli {
namespace {

constexpr int64_t kPieceBytes = 512 << 10;
constexpr int kTries = 5;

struct LocalFile {
  std::filesystem::path path;
  int64_t size_bytes = 0;
};
using FilesByDigest = std::map<std::string, LocalFile>;

StatusOr<std::vector<std::filesystem::path>> Expand(const std::string& pattern) {
  glob_t found;
  const int result = ::glob(pattern.c_str(), GLOB_TILDE | GLOB_BRACE, nullptr, &found);
  std::vector<std::filesystem::path> paths;
  if (result == 0)
    for (size_t i = 0; i < found.gl_pathc; ++i)
      if (std::filesystem::is_regular_file(found.gl_pathv[i])) paths.push_back(found.gl_pathv[i]);
  ::globfree(&found);
  if (paths.empty())
    return NotFound("data path {} matches no file (looked from {})", pattern,
                    std::filesystem::current_path().string());
  return paths;
}

StatusOr<FilesByDigest> DigestSources(std::vector<DataSource>& sources, const std::string& field) {
  FilesByDigest files;
  for (size_t i = 0; i < sources.size(); ++i) {
    DataSource& source = sources[i];
    if (source.path.empty()) continue;  // digests were given
    const std::string where = fmt::format("data.{}[{}].path", field, i);
    const auto paths = Expand(source.path);
    if (!paths.ok()) return WithField(paths.status(), where);
    source.files.clear();
    for (const std::filesystem::path& path : *paths) {
      const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
      if (size == 0)
        return WithField(
            InvalidArgument("{} is empty; remove it or leave it out of {}", path.string(), where),
            where);
      ASSIGN_OR_RETURN(const std::string sha256, Sha256OfFile(path));
      source.files.push_back({path.filename().string(), sha256, size});
      files[sha256] = {path, size};
    }
  }
  return files;
}

Status UploadOnce(Client& client, const std::string& sha256, const LocalFile& file) {
  v1::GetUploadRequest query;
  query.set_sha256(sha256);
  ASSIGN_OR_RETURN(const v1::GetUploadResponse known,
                   client.Call(client.blobs(), &v1::BlobService::Stub::GetUpload, query));
  if (known.complete()) return OkStatus();

  grpc::ClientContext context;
  client.Prepare(context, /*seconds=*/3600);
  v1::UploadResponse response;
  const auto writer = client.blobs().Upload(&context, &response);
  std::ifstream in(file.path, std::ios::binary);
  in.seekg(known.received_bytes());
  v1::UploadRequest request;
  request.set_sha256(sha256);
  request.set_size_bytes(file.size_bytes);
  request.set_offset(known.received_bytes());
  std::string piece(kPieceBytes, '\0');
  bool open = true;
  do {
    in.read(piece.data(), kPieceBytes);
    request.set_data(piece.data(), static_cast<size_t>(in.gcount()));
    open = writer->Write(request);
    request.Clear();
  } while (open && in.good());
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  return status.ok() ? OkStatus() : client.Explain(status);
}

// A broken connection is taken up where it stopped; any other error is final.
Status UploadWithRetries(Client& client, const std::string& sha256, const LocalFile& file) {
  Status status;
  for (int i = 0; i < kTries; ++i) {
    status = UploadOnce(client, sha256, file);
    if (status.code() != StatusCode::kUnavailable) break;
  }
  return Annotate(status, fmt::format("uploading {}", file.path.string()));
}

// What was found out about the files counts as given, so that it is sent.
void MarkGiven(ParsedJob& job, const std::vector<DataSource>& sources, const std::string& list) {
  for (size_t i = 0; i < sources.size(); ++i)
    for (size_t j = 0; j < sources[i].files.size(); ++j)
      for (const char* leaf : {"name", "sha256", "size_bytes"})
        job.origins[fmt::format("data.{}[{}].files[{}].{}", list, i, j, leaf)] = "submit";
}

StatusOr<FilesByDigest> DigestAll(ParsedJob& job) {
  DataSpec& data = job.spec.data;
  ASSIGN_OR_RETURN(FilesByDigest files, DigestSources(data.train, "train"));
  ASSIGN_OR_RETURN(FilesByDigest validation, DigestSources(data.validation, "validation"));
  MarkGiven(job, data.train, "train");
  MarkGiven(job, data.validation, "validation");
  files.merge(validation);
  return files;
}

}  // namespace

Status DigestDatasets(ParsedJob& job) { return job.AtPosition(DigestAll(job).status()); }

Status UploadDatasets(Client& client, ParsedJob& job, bool quiet) {
  const auto digested = DigestAll(job);
  if (!digested.ok()) return job.AtPosition(digested.status());
  const FilesByDigest& files = *digested;
  v1::FindMissingRequest query;
  for (const auto& [sha256, file] : files) query.add_sha256(sha256);
  ASSIGN_OR_RETURN(const v1::FindMissingResponse missing,
                   client.Call(client.blobs(), &v1::BlobService::Stub::FindMissing, query));
  int64_t total_bytes = 0;
  for (const std::string& sha256 : missing.sha256()) {
    const auto file = files.find(sha256);
    if (file == files.end()) continue;
    RETURN_IF_ERROR(UploadWithRetries(client, sha256, file->second));
    total_bytes += file->second.size_bytes;
  }
  if (!quiet)
    std::fprintf(stderr, "data: %zu files, %d uploaded (%s), the rest was there already\n",
                 files.size(), missing.sha256_size(), FormatBytes(double(total_bytes)).c_str());
  return OkStatus();
}

}  // namespace trainyard::cli

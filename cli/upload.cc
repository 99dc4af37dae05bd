#include "cli/upload.h"

#include <cstdio>
#include <fstream>

#include "cli/output.h"
#include "common/job_spec/local_data.h"
#include "common/job_spec/local_model.h"

namespace trainyard::cli {
namespace {

constexpr int64_t kPieceBytes = 512 << 10;
constexpr int kTries = 5;

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

StatusOr<LocalFiles> DigestAll(ParsedJob& job) {
  job.spec.model.from = WithJobPrefix(job.spec.model.from);
  job.spec.tokenizer.from = WithJobPrefix(job.spec.tokenizer.from);
  const size_t told = job.notes.size();
  ASSIGN_OR_RETURN(const LocalFiles files, DigestLocalData(job.spec, &job.notes));
  RETURN_IF_ERROR(CheckLocalDocuments(job.spec, files));
  for (size_t i = told; i < job.notes.size(); ++i)
    std::fprintf(stderr, "note: %s\n", job.notes[i].c_str());
  MarkGiven(job, job.spec.data.train, "train");
  MarkGiven(job, job.spec.data.validation, "validation");
  return files;
}

}  // namespace

Status DigestDatasets(ParsedJob& job) { return job.AtPosition(DigestAll(job).status()); }

Status UploadDatasets(Client& client, ParsedJob& job, bool quiet) {
  const auto digested = DigestAll(job);
  if (!digested.ok()) return job.AtPosition(digested.status());
  const LocalFiles& files = *digested;
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

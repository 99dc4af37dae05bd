#include "coordinator/service/blob_service.h"

#include <algorithm>
#include <utility>

#include "common/wire/channel.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/stream.h"
#include "coordinator/service/unary.h"

namespace trainyard::coordinator {
namespace {

constexpr int kMaxDigests = 10'000;
constexpr int64_t kMaxUploadBytes = int64_t{1} << 40;

std::string DatasetKey(const std::string& sha256) { return "datasets/" + sha256; }

class UploadStream final : public InStream<v1::UploadRequest> {
 public:
  UploadStream(ServiceRuntime& runtime, CallRecord record, v1::UploadResponse* response)
      : InStream(runtime, std::move(record)), response_(response) {}

 private:
  StatusOr<Taken> Take(v1::UploadRequest& request) override {
    if (sha256_.empty()) {
      RETURN_IF_ERROR(CheckDigest(request.sha256()));
      if (request.size_bytes() < 0 || request.size_bytes() > kMaxUploadBytes)
        return WithField(InvalidArgument("size_bytes is {}: give 0 to {}", request.size_bytes(),
                                         kMaxUploadBytes),
                         "size_bytes");
      sha256_ = request.sha256();
      size_ = request.size_bytes();
      ASSIGN_OR_RETURN(const bool exists, Blobs().Exists(DatasetKey(sha256_)));
      if (exists) return Taken::kAnswerNow;
      RETURN_IF_ERROR(CheckOffset(request.offset()));
    } else if (!request.sha256().empty() && request.sha256() != sha256_) {
      return WithField(InvalidArgument("one upload carries one blob"), "sha256");
    }
    const std::string& data = request.data();
    if (data.size() > kMaxDataBytes)
      return WithField(InvalidArgument("a message carries {} bytes: at most {} go into one",
                                       data.size(), kMaxDataBytes),
                       "data");
    if (received_ + static_cast<int64_t>(data.size()) > size_)
      return WithField(InvalidArgument("{} bytes were promised and more have come", size_),
                       "size_bytes");
    if (!data.empty()) RETURN_IF_ERROR(Blobs().AppendUpload(DatasetKey(sha256_), received_, data));
    received_ += static_cast<int64_t>(data.size());
    return Taken::kGoOn;
  }

  Status CheckOffset(int64_t offset) {
    ASSIGN_OR_RETURN(received_, Blobs().UploadedBytes(DatasetKey(sha256_)));
    if (offset == received_) return OkStatus();
    return WithField(WithReason(FailedPrecondition("the upload of {} stands at byte {}: go on "
                                                   "there, not at {} (GetUpload says where)",
                                                   sha256_, received_, offset),
                                "UPLOAD_OFFSET"),
                     "offset");
  }

  void Complete() override {
    if (gone_) return Completed(Cancelled("the client went away"));
    if (sha256_.empty())
      return Completed(WithField(
          InvalidArgument("an upload begins with a message that names its blob"), "sha256"));
    const Status queued = runtime_.long_pool().Submit(
        [self = std::static_pointer_cast<UploadStream>(shared_from_this())] {
          self->Completed(
              self->Blobs().FinishUpload(DatasetKey(self->sha256_), self->sha256_, self->size_));
        });
    if (!queued.ok()) Completed(queued);
  }

  void FillAnswer() override { response_->set_sha256(sha256_); }
  BlobStore& Blobs() { return runtime_.context().blobs; }

  v1::UploadResponse* const response_;
  std::string sha256_;  // set by the first message
  int64_t size_ = 0;
  int64_t received_ = 0;
};

class DownloadStream final : public OutStream<v1::DownloadResponse> {
 public:
  DownloadStream(ServiceRuntime& runtime, CallRecord record, const v1::DownloadRequest& request)
      : OutStream(runtime, std::move(record)), key_(request.key()), offset_(request.offset()) {}

 private:
  StatusOr<Next> Fill(v1::DownloadResponse* message) override {
    BlobStore& blobs = runtime_.context().blobs;
    if (size_ < 0) {
      ASSIGN_OR_RETURN(size_, blobs.Size(key_));
      if (offset_ < 0 || offset_ > size_)
        return WithField(
            InvalidArgument("offset {} is outside of {}, which has {} bytes", offset_, key_, size_),
            "offset");
    } else if (offset_ >= size_) {
      return Next::kEnd;
    }
    ASSIGN_OR_RETURN(std::string data, blobs.Read(key_, offset_, kMaxDataBytes));
    if (data.empty() && offset_ < size_)
      return DataLoss("blob {} became shorter while it was read", key_);
    offset_ += static_cast<int64_t>(data.size());
    message->set_data(std::move(data));
    message->set_size_bytes(size_);
    return Next::kMessage;  // also for an empty blob: its size is worth a message
  }

  const std::string key_;
  int64_t offset_;
  int64_t size_ = -1;
};

// Datasets, and what lies beneath recorded checkpoints, are what clients may read.
Status CheckReadable(const Coordinator& coordinator, const std::string& key) {
  RETURN_IF_ERROR(CheckBlobKey(key));
  if (key.starts_with("datasets/")) return CheckDigest(std::string_view(key).substr(9));
  const Status hidden = WithReason(
      NotFound("{} is neither a dataset nor a file of a recorded checkpoint", key), "NO_SUCH_BLOB");
  constexpr std::string_view kCheckpoints = "checkpoints/";
  if (!key.starts_with(kCheckpoints)) return hidden;
  const std::string job =
      key.substr(kCheckpoints.size(), key.find('/', kCheckpoints.size()) - kCheckpoints.size());
  const auto view = coordinator.Get(job);
  if (!view.ok() || view->value.job->id.value != job) return hidden;
  const auto& recorded = view->value.job->checkpoints;
  const bool is_recorded = std::any_of(
      recorded.begin(), recorded.end(),
      [&](const Checkpoint& checkpoint) { return key.starts_with(checkpoint.key + "/"); });
  return is_recorded ? OkStatus() : hidden;
}

}  // namespace

Status CheckDigest(std::string_view sha256) {
  const bool is_digest =
      sha256.size() == 64 && std::all_of(sha256.begin(), sha256.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
      });
  if (is_digest) return OkStatus();
  return WithField(InvalidArgument("{:?} is not a SHA-256 digest: 64 lower-case hex digits",
                                   sha256.substr(0, 100)),
                   "sha256");
}

grpc::ServerUnaryReactor* BlobServiceImpl::FindMissing(Call* call,
                                                       const v1::FindMissingRequest* request,
                                                       v1::FindMissingResponse* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.BlobService/FindMissing", Blocks::kShortly,
                     [=, this](const Principal&) -> StatusOr<int64_t> {
                       if (request->sha256_size() > kMaxDigests)
                         return WithField(InvalidArgument("{} digests: at most {} in one call",
                                                          request->sha256_size(), kMaxDigests),
                                          "sha256");
                       for (const std::string& sha256 : request->sha256()) {
                         RETURN_IF_ERROR(CheckDigest(sha256));
                         ASSIGN_OR_RETURN(const bool exists,
                                          runtime_.context().blobs.Exists(DatasetKey(sha256)));
                         if (!exists) response->add_sha256(sha256);
                       }
                       return 0;
                     });
}

grpc::ServerUnaryReactor* BlobServiceImpl::GetUpload(Call* call,
                                                     const v1::GetUploadRequest* request,
                                                     v1::GetUploadResponse* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.BlobService/GetUpload", Blocks::kShortly,
                     [=, this](const Principal&) -> StatusOr<int64_t> {
                       RETURN_IF_ERROR(CheckDigest(request->sha256()));
                       BlobStore& blobs = runtime_.context().blobs;
                       const std::string key = DatasetKey(request->sha256());
                       ASSIGN_OR_RETURN(const bool exists, blobs.Exists(key));
                       response->set_complete(exists);
                       ASSIGN_OR_RETURN(const int64_t received,
                                        exists ? blobs.Size(key) : blobs.UploadedBytes(key));
                       response->set_received_bytes(received);
                       return 0;
                     });
}

grpc::ServerReadReactor<v1::UploadRequest>* BlobServiceImpl::Upload(Call* call,
                                                                    v1::UploadResponse* response) {
  constexpr char kMethod[] = "/trainyard.v1.BlobService/Upload";
  CallRecord record(runtime_, kMethod);
  if (const auto principal = runtime_.Admit(*call, kMethod); !principal.ok())
    return new RefusedStream<grpc::ServerReadReactor<v1::UploadRequest>>(record,
                                                                         principal.status());
  auto stream = std::make_shared<UploadStream>(runtime_, record, response);
  stream->Begin(JobId());
  return stream.get();
}

grpc::ServerWriteReactor<v1::DownloadResponse>* BlobServiceImpl::Download(
    Call* call, const v1::DownloadRequest* request) {
  constexpr char kMethod[] = "/trainyard.v1.BlobService/Download";
  CallRecord record(runtime_, kMethod);
  record.Received();
  Status status = runtime_.Admit(*call, kMethod).status();
  if (status.ok()) status = CheckReadable(runtime_.context().coordinator, request->key());
  if (!status.ok())
    return new RefusedStream<grpc::ServerWriteReactor<v1::DownloadResponse>>(record, status);
  auto stream = std::make_shared<DownloadStream>(runtime_, record, *request);
  stream->Begin(JobId());
  return stream.get();
}

grpc::ServerUnaryReactor* BlobServiceImpl::GetUsage(Call* call, const v1::GetUsageRequest*,
                                                    v1::GetUsageResponse* response) {
  return AnswerUnary(runtime_, call, "/trainyard.v1.BlobService/GetUsage", Blocks::kForLong,
                     [=, this](const Principal&) -> StatusOr<int64_t> {
                       ASSIGN_OR_RETURN(const std::shared_ptr<const Usage> usage,
                                        runtime_.context().usage.Measure());
                       *response = UsageToProto(*usage);
                       return 0;
                     });
}

}  // namespace trainyard::coordinator

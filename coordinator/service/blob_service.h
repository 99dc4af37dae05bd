// Bytes by content: uploads of datasets, downloads of datasets and recorded checkpoints.
#pragma once

#include <string>
#include <string_view>

#include "coordinator/service/runtime.h"
#include "trainyard/v1/blob_service.grpc.pb.h"

namespace trainyard::coordinator {

// InvalidArgument unless it is 64 lower-case hex digits.
Status CheckDigest(std::string_view sha256);

class BlobServiceImpl final : public v1::BlobService::CallbackService {
 public:
  explicit BlobServiceImpl(ServiceRuntime& runtime) : runtime_(runtime) {}

  using Call = grpc::CallbackServerContext;
  grpc::ServerUnaryReactor* FindMissing(Call* call, const v1::FindMissingRequest* request,
                                        v1::FindMissingResponse* response) override;
  grpc::ServerUnaryReactor* GetUpload(Call* call, const v1::GetUploadRequest* request,
                                      v1::GetUploadResponse* response) override;
  grpc::ServerReadReactor<v1::UploadRequest>* Upload(Call* call,
                                                     v1::UploadResponse* response) override;
  grpc::ServerWriteReactor<v1::DownloadResponse>* Download(
      Call* call, const v1::DownloadRequest* request) override;
  grpc::ServerUnaryReactor* GetUsage(Call* call, const v1::GetUsageRequest* request,
                                     v1::GetUsageResponse* response) override;

 private:
  ServiceRuntime& runtime_;
};

}  // namespace trainyard::coordinator

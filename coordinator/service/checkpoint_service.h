// Recorded checkpoints, for clients.
#pragma once

#include "coordinator/service/answer_memory.h"
#include "coordinator/service/runtime.h"
#include "trainyard/v1/checkpoint_service.grpc.pb.h"

namespace trainyard::coordinator {

class CheckpointServiceImpl final : public v1::CheckpointService::CallbackService {
 public:
  explicit CheckpointServiceImpl(ServiceRuntime& runtime) : runtime_(runtime) {}

  using Call = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  Unary* ListCheckpoints(Call* call, const v1::ListCheckpointsRequest* request,
                         v1::ListCheckpointsResponse* response) override;
  Unary* GetCheckpoint(Call* call, const v1::GetCheckpointRequest* request,
                       v1::GetCheckpointResponse* response) override;
  Unary* VerifyCheckpoint(Call* call, const v1::VerifyCheckpointRequest* request,
                          v1::VerifyCheckpointResponse* response) override;

  Unary* DeleteCheckpoint(Call* call, const v1::DeleteCheckpointRequest* request,
                          v1::Checkpoint* response) override;

 private:
  StatusOr<int64_t> List(const v1::ListCheckpointsRequest& request,
                         v1::ListCheckpointsResponse* response);
  StatusOr<int64_t> Delete(const Principal& who, const v1::DeleteCheckpointRequest& request,
                           v1::Checkpoint* response);

  ServiceRuntime& runtime_;
  AnswerMemory memory_;
};

}  // namespace trainyard::coordinator

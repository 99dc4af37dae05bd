#include "coordinator/service/unary.h"

#include <memory>
#include <utility>

#include "common/wire/status.h"

namespace trainyard::coordinator {
namespace {

struct UnaryCall {
  grpc::ServerUnaryReactor* reactor;  // gRPC's own; gone once finished
  CallRecord record;

  void Finish(const Status& status) {
    if (status.ok()) record.Sent();
    record.Answered(status.code());
    reactor->Finish(ToGrpc(status));
  }
};

void Deliver(ServiceRuntime& runtime, const std::shared_ptr<UnaryCall>& call,
             const StatusOr<int64_t>& handled) {
  if (!handled.ok()) return call->Finish(handled.status());
  if (*handled <= 0) return call->Finish(OkStatus());
  runtime.context().store.WhenDurable(*handled, [call](Status status) { call->Finish(status); });
}

}  // namespace

grpc::ServerUnaryReactor* AnswerUnary(ServiceRuntime& runtime, grpc::CallbackServerContext* context,
                                      std::string_view method, Blocks blocks, UnaryHandler handle) {
  auto call = std::make_shared<UnaryCall>(
      UnaryCall{context->DefaultReactor(), CallRecord(runtime, method)});
  grpc::ServerUnaryReactor* reactor = call->reactor;
  call->record.Received();
  const StatusOr<Principal> principal = runtime.Admit(*context, method);
  if (!principal.ok()) {
    call->Finish(principal.status());
    return reactor;
  }
  if (blocks == Blocks::kNo) {
    Deliver(runtime, call, handle(*principal));
    return reactor;
  }
  WorkPool& pool = blocks == Blocks::kShortly ? runtime.pool() : runtime.long_pool();
  const Status queued =
      pool.Submit([&runtime, call, principal = *principal, handle = std::move(handle)] {
        Deliver(runtime, call, handle(principal));
      });
  if (!queued.ok()) call->Finish(queued);
  return reactor;
}

}  // namespace trainyard::coordinator

// Services that gRPC brings itself (reflection) have no handlers of ours that could ask for a
// token: an interceptor stands before them. Ours are checked in their handlers
// (ServiceRuntime::Admit), where the answer can say what is wrong; a stream that is stopped here
// ends as Cancelled.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <vector>

#include "coordinator/service/runtime.h"

namespace trainyard::coordinator {

// `runtime` outlives the server.
std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> GatekeepersFor(
    ServiceRuntime& runtime);

}  // namespace trainyard::coordinator

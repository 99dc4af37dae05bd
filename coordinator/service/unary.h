// One way to answer a unary call: admit, translate and ask in `handle`, answer once what the answer
// shows is durable.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <string_view>

#include "common/status.h"
#include "coordinator/service/runtime.h"

namespace trainyard::coordinator {

enum class Blocks {
  kNo,       // runs in gRPC's callback
  kShortly,  // milliseconds: small files, SQL
  kForLong,  // seconds and more: hashing
};

// Fills the response. Returns the sequence number that must be durable before it is sent (0: none).
using UnaryHandler = std::function<StatusOr<int64_t>(const Principal& principal)>;

// Request and response, which `handle` captures, live until the call is answered.
grpc::ServerUnaryReactor* AnswerUnary(ServiceRuntime& runtime, grpc::CallbackServerContext* call,
                                      std::string_view method, Blocks blocks, UnaryHandler handle);

}  // namespace trainyard::coordinator

// The gRPC server: all services on one address, limits, credentials, health, reflection, and the
// order in which all of it stops.
#pragma once

#include <absl/time/time.h>

#include <memory>
#include <string>

#include "common/status.h"
#include "common/wire/channel.h"
#include "coordinator/service/runtime.h"

namespace trainyard::coordinator {

struct GrpcServerOptions {
  std::string address = "127.0.0.1:7077";  // port 0: a free one
  TlsFiles tls = {};
  bool insecure_i_understand = false;
  bool reflection = true;
};

class GrpcServer {
 public:
  // Sets the coordinator's listeners. What `context` refers to outlives the server, and the store's
  // writer runs until the server is gone: answers wait for it. FailedPrecondition when the address
  // is beyond loopback without TLS; Unavailable when it is taken.
  static StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                     const ServiceContext& context);
  virtual ~GrpcServer() = default;  // drains, if Drain was not called

  // "127.0.0.1:43211": with the port that was bound.
  virtual std::string address() const = 0;
  // Says NOT_SERVING, ends streams with Unavailable (clients come back and resume), lets calls that
  // are being answered finish until `grace` is over, then cancels them. Call once.
  virtual void Drain(absl::Duration grace) = 0;
};

}  // namespace trainyard::coordinator

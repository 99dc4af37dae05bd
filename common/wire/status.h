// Status <-> grpc::Status. Codes are numbered alike; reason and field travel as
// google.rpc.ErrorInfo{reason, domain "trainyard", metadata "field"} in the binary status details,
// where every gRPC client's own error helpers look for them.
#pragma once

#include <grpcpp/support/status.h>

#include "common/status.h"

namespace trainyard {

grpc::Status ToGrpc(const Status& status);
// Details that are missing or not ours leave the reason and field empty.
Status FromGrpc(const grpc::Status& status);

}  // namespace trainyard

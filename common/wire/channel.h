// How a client reaches the coordinator, and how a server lets clients in: addresses, TLS files,
// tokens, deadlines, retries.
#pragma once

#include <absl/time/time.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/server_credentials.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

namespace trainyard {

inline constexpr int kMaxMessageBytes = 4 << 20;  // what either side accepts
inline constexpr int kMaxDataBytes = 1 << 20;     // of blobs and logs in one message

// PEM files. A client needs `ca` alone, and `cert` and `key` where the server asks for them (mTLS).
// A server needs `cert` and `key`, and `ca` when its clients must show a certificate. Files are
// read again every minute, so certificates may be renewed in place.
struct TlsFiles {
  std::filesystem::path ca = {}, cert = {}, key = {};
  bool empty() const { return ca.empty() && cert.empty() && key.empty(); }
};

// "127.0.0.1:7077", "[::1]:0", "localhost:0".
bool IsLoopback(std::string_view address);

struct ChannelOptions {
  std::string address;                 // host:port
  TlsFiles tls = {};                   // empty: plain text, which is refused beyond loopback
  bool insecure_i_understand = false;  // plain text beyond loopback after all
};

// Does not connect: the first call does. FailedPrecondition where plain text would leave this
// machine; NotFound or InvalidArgument for TLS files. Calls without effects beyond their first
// execution (reads, and writes that carry a request_id) are tried again while the coordinator is
// away: 4 times, 0.1 s to 1 s apart.
StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(const ChannelOptions& options);

// Sets who asks ("authorization: Bearer <token>") and by when the answer must be there; infinite
// for streams that follow.
void PrepareCall(grpc::ClientContext* context, std::string_view token, absl::Duration timeout);

// The token in a file as `trainyard-coordinator init` writes it. PermissionDenied when others may
// read the file, InvalidArgument when it holds no token.
StatusOr<std::string> ReadTokenFile(const std::filesystem::path& path);

// FailedPrecondition when `address` is beyond loopback and there is no TLS, unless
// `insecure_i_understand`.
StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    std::string_view address, const TlsFiles& tls, bool insecure_i_understand);

}  // namespace trainyard

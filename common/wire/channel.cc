#include "common/wire/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/stat.h>

#include <chrono>

#include "common/files.h"

namespace trainyard {
namespace {

constexpr unsigned kReloadSeconds = 60;

// Methods whose repetition does no harm. Streams are retried only until their first answer.
constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [
      {"service": "trainyard.v1.JobService"},
      {"service": "trainyard.v1.CheckpointService"},
      {"service": "trainyard.v1.BlobService", "method": "FindMissing"},
      {"service": "trainyard.v1.BlobService", "method": "GetUpload"},
      {"service": "trainyard.v1.BlobService", "method": "Download"}
    ],
    "retryPolicy": {
      "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

std::string HostOf(std::string_view address) {
  if (address.starts_with('[')) return std::string(address.substr(1, address.find(']') - 1));
  const size_t colon = address.rfind(':');
  return std::string(address.substr(0, colon));
}

Status CheckPlainText(std::string_view address, bool insecure_i_understand) {
  if (insecure_i_understand || IsLoopback(address)) return OkStatus();
  return WithReason(FailedPrecondition("{} is beyond this machine and there is no TLS: tokens and "
                                       "data would cross the network in "
                                       "the clear. Give TLS files, or use 127.0.0.1",
                                       address),
                    "TLS_REQUIRED");
}

// gRPC says little about files that it cannot read, and says it late.
Status CheckPem(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, 1 << 20));
  if (bytes.find("-----BEGIN ") == std::string::npos)
    return InvalidArgument("{} holds no PEM block (-----BEGIN ...)", path.string());
  return OkStatus();
}

StatusOr<std::shared_ptr<grpc::experimental::CertificateProviderInterface>> WatchFiles(
    const TlsFiles& tls) {
  if (tls.cert.empty() != tls.key.empty())
    return InvalidArgument("a TLS certificate needs its key, and a key its certificate");
  for (const auto& path : {tls.ca, tls.cert, tls.key})
    if (!path.empty()) RETURN_IF_ERROR(CheckPem(path));
  using Watcher = grpc::experimental::FileWatcherCertificateProvider;
  if (tls.cert.empty()) return std::make_shared<Watcher>(tls.ca.string(), kReloadSeconds);
  return std::make_shared<Watcher>(tls.key.string(), tls.cert.string(), tls.ca.string(),
                                   kReloadSeconds);
}

StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ChannelOptions& options) {
  if (options.tls.empty()) {
    RETURN_IF_ERROR(CheckPlainText(options.address, options.insecure_i_understand));
    return grpc::InsecureChannelCredentials();
  }
  ASSIGN_OR_RETURN(const auto provider, WatchFiles(options.tls));
  grpc::experimental::TlsChannelCredentialsOptions tls;
  tls.set_certificate_provider(provider);
  if (!options.tls.ca.empty()) tls.watch_root_certs();
  if (!options.tls.cert.empty()) tls.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(tls);
}

}  // namespace

bool IsLoopback(std::string_view address) {
  const std::string host = HostOf(address);
  if (host == "localhost" || host == "::1") return true;
  // 127.0.0.0/8, in digits and dots only: "127.evil.example" is a name.
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(const ChannelOptions& options) {
  ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetServiceConfigJSON(kServiceConfig);
  // Holds NAT entries open; whether a peer lives is told by its reports, not by this.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  return grpc::CreateCustomChannel(options.address, credentials, arguments);
}

void PrepareCall(grpc::ClientContext* context, std::string_view token, absl::Duration timeout) {
  context->AddMetadata("authorization", fmt::format("Bearer {}", token));
  if (timeout != absl::InfiniteDuration())
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
}

StatusOr<std::string> ReadTokenFile(const std::filesystem::path& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0)
    return ErrnoStatus(errno, fmt::format("cannot read the token file {}", path.string()));
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return PermissionDenied(
        "others may read the token file {}: whoever read it may act in your name; chmod 600 it, or "
        "mint a new one",
        path.string());
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, 4096));
  const std::string_view token(bytes.data(), bytes.find_last_not_of(" \n") + 1);
  if (token.size() < 32 || token.find_first_of(" \n\r\t") != std::string_view::npos)
    return InvalidArgument("{} holds no token", path.string());
  return std::string(token);
}

StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    std::string_view address, const TlsFiles& tls, bool insecure_i_understand) {
  if (tls.empty()) {
    RETURN_IF_ERROR(CheckPlainText(address, insecure_i_understand));
    return grpc::InsecureServerCredentials();
  }
  if (tls.cert.empty() || tls.key.empty())
    return InvalidArgument("a server needs a TLS certificate and its key");
  ASSIGN_OR_RETURN(const auto provider, WatchFiles(tls));
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (!tls.ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace trainyard

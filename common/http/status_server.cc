#include "common/http/status_server.h"

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <httplib.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <string_view>
#include <utility>

#include "common/clock.h"
#include "common/thread.h"

namespace trainyard {
namespace {

constexpr int kThreads = 2;
constexpr int kNextPorts = 99;
constexpr int kTimeoutSeconds = 5;
constexpr size_t kRequestBytesMax = 64 << 10;

struct HostPort {
  std::string host;
  int port = 0;
};

StatusOr<HostPort> Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  HostPort parts;
  if (colon != std::string::npos) {
    parts.host = address.substr(0, colon);
    if (parts.host.starts_with('[') && parts.host.ends_with(']'))
      parts.host = parts.host.substr(1, parts.host.size() - 2);
    const char* const end = address.data() + address.size();
    const auto [rest, error] = std::from_chars(address.data() + colon + 1, end, parts.port);
    if (error == std::errc() && rest == end && !parts.host.empty() && parts.port >= 0 &&
        parts.port < 65536)
      return parts;
  }
  return InvalidArgument("{} is no address; write HOST:PORT, e.g. 127.0.0.1:7078", address);
}

std::string BearerToken(const httplib::Request& request) {
  static const std::string kPrefix = "Bearer ";
  const std::string header = request.get_header_value("Authorization");
  return header.starts_with(kPrefix) ? header.substr(kPrefix.size()) : "";
}

class HttplibServer final : public StatusServer {
 public:
  explicit HttplibServer(StatusServerOptions options) : options_(std::move(options)) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_keep_alive_timeout(1);
    server_.set_payload_max_length(kRequestBytesMax);
    // Two daemons must not share a port by accident: no SO_REUSEPORT, which is httplib's default.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    AddPages();
  }

  ~HttplibServer() override {
    server_.stop();
    thread_.Join();
  }

  Status Listen() {
    ASSIGN_OR_RETURN(const HostPort wanted, Split(options_.address));
    const int tries = options_.next_free_port && wanted.port != 0 ? kNextPorts : 0;
    int port = tries > 0 && options_.last_port != 0 ? Bind(wanted.host, options_.last_port) : -1;
    for (int i = 0; i <= tries && port < 0; ++i) port = Bind(wanted.host, wanted.port + i);
    if (port < 0)
      return Unavailable("cannot listen on {}: is the port taken? Choose another one, or 0",
                         options_.address);
    address_ = fmt::format("{}:{}", options_.address.substr(0, options_.address.rfind(':')), port);
    thread_ = Thread("http", [this] {
      server_.listen_after_bind();
      ended_.Stop();
    });
    // httplib's stop() does nothing before the server runs: wait, so that a destructor ends.
    while (!server_.is_running() && !ended_.WaitFor(absl::Milliseconds(1))) {
    }
    return OkStatus();
  }

  const std::string& address() const override { return address_; }

 private:
  int Bind(const std::string& host, int port) {
    if (port == 0) return server_.bind_to_any_port(host.c_str());
    return server_.bind_to_port(host.c_str(), port) ? port : -1;
  }

  void AddPages() {
    server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    server_.Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
      const Status ready = options_.ready();
      if (!ready.ok()) response.status = 503;
      response.set_content(ready.ok() ? "ok\n" : MessageOf(ready) + "\n", "text/plain");
    });
    server_.Get("/metrics", [this](const httplib::Request& request, httplib::Response& response) {
      const std::string token = BearerToken(request);
      if (!options_.may_read_metrics(token)) {
        LogDenied(request, token.empty() ? "no token" : "a wrong token");
        response.status = 401;
        response.set_header("WWW-Authenticate", "Bearer");
        response.set_content(
            "this page needs a token: send \"Authorization: Bearer TOKEN\" with the scraper "
            "token\n",
            "text/plain");
        return;
      }
      response.set_content(options_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
    });
  }

  // A line a second at most: strangers must not fill the disk.
  void LogDenied(const httplib::Request& request, std::string_view why) {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = clock_.Elapsed();
    ++denied_;
    if (now < log_at_) return;
    log_at_ = now + absl::Seconds(1);
    const std::string more =
        denied_ > 1 ? fmt::format(", and {} requests before it", denied_ - 1) : "";
    denied_ = 0;
    spdlog::warn("denied {} to {}: {}{}", request.path, request.remote_addr, why, more);
  }

  const StatusServerOptions options_;
  const SystemClock clock_;
  absl::Mutex mu_;
  absl::Duration log_at_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  int64_t denied_ ABSL_GUARDED_BY(mu_) = 0;  // since the last line
  std::string address_;
  httplib::Server server_;
  StopSignal ended_;
  Thread thread_;
};

}  // namespace

StatusOr<std::unique_ptr<StatusServer>> StatusServer::Start(StatusServerOptions options) {
  auto server = std::make_unique<HttplibServer>(std::move(options));
  RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace trainyard

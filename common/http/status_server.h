// The HTTP side of a daemon: what Prometheus, Kubernetes and people with curl ask.
//   GET /healthz   200 "ok": the process answers. Open to anybody who reaches it.
//   GET /readyz    200 "ok", or 503 with the reason.
//   GET /metrics   Prometheus text; needs "Authorization: Bearer TOKEN". Who has none is denied and
//                  logged.
// cpp-httplib, compiled with its packager's flags only (it crashes otherwise).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"

namespace trainyard {

struct StatusServerOptions {
  std::string address;          // "127.0.0.1:7078"; port 0: any free one
  bool next_free_port = false;  // the port is taken: try the 99 after it
  int last_port = 0;            // tried before all of these; 0: none
  std::function<std::string()> metrics;
  std::function<Status()> ready;
  // Whether this token (empty: none was sent) may read metrics. Called from several threads.
  std::function<bool(const std::string& token)> may_read_metrics;
};

class StatusServer {
 public:
  // InvalidArgument for an address that is none, Unavailable when the port is taken.
  static StatusOr<std::unique_ptr<StatusServer>> Start(StatusServerOptions options);
  virtual ~StatusServer() = default;  // stops, and waits for the requests that are under way
  // Where it listens: "127.0.0.1:40123".
  virtual const std::string& address() const = 0;
};

}  // namespace trainyard

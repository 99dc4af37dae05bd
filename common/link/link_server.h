// The trainer's end of the link. It listens; agents come and go, one at a time: a new one that
// proves itself replaces the old. What the loop says is kept (channel.h has the bounds) until an
// agent has acknowledged it. Its own thread does all input and output, so no call below blocks on
// the socket.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/link/endpoint.h"
#include "common/link/socket.h"
#include "common/thread.h"

namespace trainyard::link {

struct LinkServerOptions {
  std::filesystem::path socket_path = {};  // its folder must be 0700
  std::string secret = {};                 // came by an inherited descriptor
  JobId job = {};
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  absl::Duration handshake_timeout = absl::Seconds(5);
};

class LinkServer {
 public:
  // `clock` must outlive the server; timeouts are measured on it, but waited for in real time.
  static StatusOr<std::unique_ptr<LinkServer>> Start(LinkServerOptions options, const Clock& clock);
  // Closes all connections and removes the socket. Nobody may be waiting.
  ~LinkServer();
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  // All of these are thread-safe.

  // The newest directive for this job and attempt; nullopt: none has come yet.
  std::optional<Directive> LatestDirective() const;
  // Waits until there is a directive that `wanted` is true of (it is called under a lock: short,
  // and not back into the server). DeadlineExceeded after `timeout`.
  StatusOr<Directive> WaitForDirective(const std::function<bool(const Directive&)>& wanted,
                                       absl::Duration timeout) const;

  // The newest state replaces what was not sent yet. Fills in job, attempt and rank. Every agent
  // hears it, also one that comes after another has acknowledged it: what the dead one knew is
  // lost.
  void SetStatus(RankStatus status);

  // Kept until acknowledged; when the buffer is full the oldest are dropped and a gap is told.
  void Publish(const MetricPoints& points);
  void Publish(const TrainerEvent& event);

  // Zero while an agent is connected; else since the last one left, or since Start.
  absl::Duration SinceAgent() const;

  // Waits until everything said so far is acknowledged, `timeout` at most; whether it was.
  bool Flush(absl::Duration timeout) const;
  // Writes the telemetry that is unacknowledged, for the exit record (telemetry_file.h reads it).
  // Returns whether there was any; without any, no file is written.
  StatusOr<bool> SaveUnsentTelemetry(const std::filesystem::path& path) const;
  // Telemetry messages dropped so far, the buffer being full.
  uint64_t dropped() const;

 private:
  struct Connection {
    FrameSocket socket;
    std::string nonce;
    absl::Duration handshake_deadline;  // on the clock
  };

  LinkServer(LinkServerOptions options, const Clock& clock, UniqueFd listener, WakeFd wake);
  void Run();
  void WaitForNews();
  void Accept();
  // Reads, proves and sorts out those that are not the agent yet.
  void ServeNewcomers();
  // True when it has proved to be an agent; an error closes it.
  StatusOr<bool> ServeNewcomer(Connection& connection);
  Status Prove(Connection& connection, const Frame& frame);
  // An error closes the connection.
  Status ServeAgent();
  Status Deliver(const Endpoint::Delivery& delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SayAgentLeft();
  void PushTelemetry(std::string payload);

  // Fixed at construction.
  const LinkServerOptions options_;
  const Clock& clock_;
  const UniqueFd listener_;
  WakeFd wake_;
  StopSignal stop_;

  // The thread's own.
  std::unique_ptr<Connection> agent_connection_;
  std::vector<std::unique_ptr<Connection>> newcomers_;

  // What loop and thread share, under one lock.
  mutable absl::Mutex mu_;
  mutable absl::CondVar changed_;
  Endpoint endpoint_ ABSL_GUARDED_BY(mu_);
  std::string agent_ ABSL_GUARDED_BY(mu_);  // the last that proved itself
  std::string said_ ABSL_GUARDED_BY(mu_);   // the newest, encoded; a new agent is told it again
  bool agent_connected_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration agent_left_ ABSL_GUARDED_BY(mu_);
  std::optional<Directive> directive_ ABSL_GUARDED_BY(mu_);

  Thread thread_;  // last: it uses everything above
};

}  // namespace trainyard::link

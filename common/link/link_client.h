// The agent's end of the link to one trainer. Dials until it is told to stop: when a connection
// breaks it dials again (after 20 ms, then twice as long, up to 1 s), and nothing is lost or seen
// twice. Its own thread does all input and output and calls back.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/link/endpoint.h"
#include "common/link/socket.h"
#include "common/thread.h"

namespace trainyard::link {

struct LinkClientOptions {
  std::filesystem::path socket_path = {};
  std::string secret = {};
  std::string agent = {};  // random per start of this process
  // Whom to expect: a trainer of another job, attempt or rank is not spoken to.
  JobId job = {};
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  absl::Duration handshake_timeout = absl::Seconds(5);
};

// Called on the client's thread, one at a time, not under its lock; they may call the client but
// not destroy it.
struct LinkClientCallbacks {
  // The newest state; older ones may be skipped.
  std::function<void(const RankStatus& status)> on_status;
  // Each message once, in order. Call AcknowledgeTelemetry when it is safe elsewhere; with 1,000
  // messages unacknowledged the trainer holds back the next.
  std::function<void(uint64_t sequence, const Telemetry& message)> on_telemetry;
  // The trainer has accepted this agent; the challenge says which process it is.
  std::function<void(const Challenge& trainer)> on_connected;
  // A connection has ended, or a trainer that listens has not accepted this agent. That nobody
  // listens is not told: see last_error().
  std::function<void(const Status& why)> on_disconnected;
};

class LinkClient {
 public:
  // `clock` must outlive the client.
  static StatusOr<std::unique_ptr<LinkClient>> Start(LinkClientOptions options,
                                                     LinkClientCallbacks callbacks,
                                                     const Clock& clock);
  // No callback runs afterwards.
  ~LinkClient();
  LinkClient(const LinkClient&) = delete;
  LinkClient& operator=(const LinkClient&) = delete;

  // All of these are thread-safe.

  // The newest directive replaces what was not sent yet. Fills in job and attempt. One that equals
  // the last is not sent again: the trainer has it or will get it.
  void SetDirective(Directive directive);
  // All telemetry up to `sequence` is safe elsewhere; the trainer may forget it.
  void AcknowledgeTelemetry(uint64_t sequence);
  bool connected() const;
  // Why the last dial or connection failed; OK while connected and before the first dial.
  Status last_error() const;

 private:
  LinkClient(LinkClientOptions options, LinkClientCallbacks callbacks, const Clock& clock,
             WakeFd wake);
  void Run();
  // One connection, until its end; the error says why. `welcomed`: the trainer has accepted us.
  Status Connect(UniqueFd fd, bool* welcomed);
  Status Handshake(FrameSocket* socket, Challenge* trainer);
  // The next frame, while nothing but the handshake goes on.
  StatusOr<Frame> AwaitFrame(FrameSocket* socket, absl::Duration deadline);
  Status Converse(FrameSocket* socket);
  Status Deliver(const Endpoint::Delivery& delivery);
  Status FillAndWrite(FrameSocket* socket);
  void Poll(const FrameSocket& socket, int timeout_ms);

  // Fixed at construction.
  const LinkClientOptions options_;
  const LinkClientCallbacks callbacks_;
  const Clock& clock_;
  WakeFd wake_;
  StopSignal stop_;

  mutable absl::Mutex mu_;
  Endpoint endpoint_ ABSL_GUARDED_BY(mu_);
  std::optional<Directive> directive_ ABSL_GUARDED_BY(mu_);  // the last that was set
  bool connected_ ABSL_GUARDED_BY(mu_) = false;
  Status last_error_ ABSL_GUARDED_BY(mu_);

  Thread thread_;  // last: it uses everything above
};

}  // namespace trainyard::link

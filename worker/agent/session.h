// The worker's control stream: sends the newest report, hands over what the coordinator wants.
// Proves on the way that this worker reads the cluster's BlobStore, by reading the object the
// coordinator names.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/channel.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/status.h"
#include "trainyard/v1/worker_service.grpc.pb.h"
#include "worker/agent/stream.h"

namespace trainyard::worker {

class Session {
 public:
  // Called from the session's threads; must return quickly.
  struct Events {
    // What the worker should have now, and the SHA-256 of the probe object (empty: not readable,
    // the reason is in the log).
    std::function<void(const v1::DesiredState&, const std::string& blob_probe)> desired;
    // The stream broke; it is being dialled again.
    std::function<void(const Status&)> lost;
  };

  // `token` is asked for each time the stream is dialled. `blobs` and `clock` outlive the session.
  Session(std::shared_ptr<grpc::Channel> channel, std::function<std::string()> token,
          BlobStore& blobs, const Clock& clock, Events events);

  // Sends `report` as soon as it can be; a newer one replaces one that is still waiting. Call it at
  // least every second.
  void Send(v1::WorkerReport report);

  bool connected() const;

 private:
  std::optional<v1::WorkerReport> Next();
  void Receive(const v1::DesiredState& desired);
  void CheckProbe(const std::string& key);

  const std::function<std::string()> token_;
  BlobStore& blobs_;
  const Events events_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;

  mutable absl::Mutex mu_;
  std::optional<v1::WorkerReport> newest_ ABSL_GUARDED_BY(mu_);
  bool unsent_ ABSL_GUARDED_BY(mu_) = false;
  bool connected_ ABSL_GUARDED_BY(mu_) = false;
  int64_t report_number_ ABSL_GUARDED_BY(mu_) = 0;

  // Used by the receiving thread only.
  std::string probe_key_, probe_digest_, probe_complaint_;

  Stream<v1::WorkerReport, v1::DesiredState> stream_;  // last: its threads use the rest
};

}  // namespace trainyard::worker

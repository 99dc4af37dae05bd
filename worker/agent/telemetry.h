// Ships what ranks say: follows their log files, takes points and events from their links, keeps
// the Telemetry stream to the coordinator. TelemetryQueue decides; this gives it threads and a
// lock.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "common/thread.h"
#include "trainyard/v1/worker_service.grpc.pb.h"
#include "worker/agent/stream.h"
#include "worker/agent/telemetry_queue.h"

namespace trainyard::worker {

// Thread-safe; the meanings are TelemetryQueue's.
class Telemetry {
 public:
  // `progress` is called from a thread of its own after the coordinator acknowledged something; it
  // must return quickly. `clock` outlives this.
  Telemetry(std::shared_ptr<grpc::Channel> channel, std::function<std::string()> token,
            const std::string& worker_id, const TelemetryBounds& bounds, const Clock& clock,
            std::function<void()> progress);
  ~Telemetry();

  void Add(const RankKey& key, const std::filesystem::path& log, const LogPlace& acknowledged);
  void Remove(const RankKey& key);
  bool Offer(const RankKey& key, v1::TelemetryRequest item, int64_t link_sequence);
  std::optional<TelemetryQueue::Progress> ProgressOf(const RankKey& key);
  Status Release(const RankKey& key, const LogPlace& place);

  int64_t dropped_log_bytes() const;
  int64_t acknowledged_items() const;

 private:
  void FollowLogs();

  const std::function<std::string()> token_;
  const std::function<void()> progress_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  mutable absl::Mutex mu_;
  TelemetryQueue queue_ ABSL_GUARDED_BY(mu_);

  StopSignal stop_;
  Stream<v1::TelemetryRequest, v1::TelemetryResponse> stream_;
  Thread log_reader_;  // last: it uses the rest
};

}  // namespace trainyard::worker

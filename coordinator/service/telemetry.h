// A worker's telemetry stream. One request is in memory at a time; acknowledgements are conflated.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>

#include <map>
#include <set>

#include "coordinator/service/stream.h"
#include "trainyard/v1/worker_service.pb.h"

namespace trainyard::coordinator {

class TelemetryStream final : public BidiStream<v1::TelemetryRequest, v1::TelemetryResponse> {
 public:
  TelemetryStream(ServiceRuntime& runtime, CallRecord record,
                  prometheus::Family<prometheus::Histogram>& phase_seconds)
      : BidiStream(runtime, std::move(record)), phase_seconds_(phase_seconds) {}

 private:
  Status Take(v1::TelemetryRequest& request) override;
  bool Fill(v1::TelemetryResponse* message) override;
  bool Owes() const override;

  Status TakeLog(v1::LogChunk& chunk);
  Status TakePoints(const v1::PointBatch& batch);
  Status TakeNote(const v1::TrainerEvent& event);
  // Whether this worker may speak for this rank: the coordinator placed it there. What it says of
  // others is dropped, and acknowledged so that it is not sent for ever.
  bool MaySpeakFor(const LogKey& key);
  void ObservePhase(std::string_view phase, double seconds);
  void AskForSync();

  prometheus::Family<prometheus::Histogram>& phase_seconds_;
  WorkerId worker_;         // set by the first request
  std::set<LogKey> known_;  // ranks that MaySpeakFor has found; cleared at kMaxKnown
  mutable absl::Mutex mu_;
  int64_t taken_ ABSL_GUARDED_BY(mu_) = 0;   // newest sequence in the history
  int64_t synced_ ABSL_GUARDED_BY(mu_) = 0;  // newest that is durable
  int64_t acknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  bool syncing_ ABSL_GUARDED_BY(mu_) = false;
  std::map<LogKey, int64_t> go_back_ ABSL_GUARDED_BY(mu_);  // at most one per rank of this worker
};

}  // namespace trainyard::coordinator

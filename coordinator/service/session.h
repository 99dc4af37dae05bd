// A worker's control stream. Answers are conflated: a worker that reads slowly gets the newest.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <atomic>
#include <optional>

#include "coordinator/service/stream.h"
#include "coordinator/service/worker_service.h"

namespace trainyard::coordinator {

class Session final : public BidiStream<v1::WorkerReport, v1::DesiredState> {
 public:
  Session(ServiceRuntime& runtime, CallRecord record, SessionTable& sessions)
      : BidiStream(runtime, std::move(record)), sessions_(sessions) {}
  ~Session() override;
  // Thread-safe.
  void DesiredHasChanged();

 private:
  Status Take(v1::WorkerReport& report) override;
  bool Fill(v1::DesiredState* message) override;
  bool Owes() const override;
  // Sends it once it may be shown; a newer one replaces one that still waits to be sent.
  void SendWhenDurable(const Answer<DesiredState>& answer);

  SessionTable& sessions_;
  WorkerId worker_;  // set by the first report
  std::atomic<bool> push_ = false;
  mutable absl::Mutex mu_;
  int64_t asked_ ABSL_GUARDED_BY(mu_) = 0;  // answers given to SendWhenDurable
  int64_t ready_number_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t settled_ ABSL_GUARDED_BY(mu_) = 0;  // of them, those that are durable
  std::optional<v1::DesiredState> ready_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::coordinator

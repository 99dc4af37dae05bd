// What all services share: who may call, what is counted, where blocking work runs, who is woken.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/server_context.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/metrics/registry.h"
#include "common/metrics/rpc_metrics.h"
#include "common/thread.h"
#include "coordinator/coordinator.h"
#include "coordinator/history/history.h"
#include "coordinator/service/auth.h"
#include "coordinator/service/usage.h"
#include "coordinator/service/work_pool.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

// Everything the services stand on; all of it outlives them.
struct ServiceContext {
  Coordinator& coordinator;
  Store& store;
  History& history;
  BlobStore& blobs;
  TokenTable& tokens;
  MetricsRegistry& metrics;
  const Clock& clock;
  UsageMeter& usage;
};

// A stream as others see it: it can be woken and told to end.
class Stream : public Stepping {
 public:
  // Ends as soon as no message is on its way.
  virtual void EndWith(Status status) = 0;
};

// All open streams, by the job they follow. Thread-safe.
class StreamHub {
 public:
  static constexpr size_t kMaxStreams = 10'000;
  explicit StreamHub(Stepper& stepper) : stepper_(stepper) {}

  // ResourceExhausted, reason TOO_MANY_STREAMS, at kMaxStreams; Unavailable once EndAll was called.
  // `job`: empty for streams that follow none.
  Status Add(const std::shared_ptr<Stream>& stream, const JobId& job);
  void Remove(Stream* stream);
  void WakeJob(const JobId& job);
  void WakeAll();
  // Ends them all, and every one that comes later.
  void EndAll(const Status& status);
  size_t size() const;

 private:
  struct Entry {
    std::weak_ptr<Stream> stream;
    JobId job;
  };
  void Wake(const std::vector<std::shared_ptr<Stream>>& streams);

  Stepper& stepper_;
  mutable absl::Mutex mu_;
  std::map<Stream*, Entry> streams_ ABSL_GUARDED_BY(mu_);
  std::map<JobId, std::set<Stream*>> by_job_ ABSL_GUARDED_BY(mu_);
  Status ended_ ABSL_GUARDED_BY(mu_);
};

class ServiceRuntime {
 public:
  explicit ServiceRuntime(const ServiceContext& context);

  const ServiceContext& context() const { return context_; }
  // Who asks, if they may: checks the token in the call's metadata against the access table. What
  // is denied is logged and counted.
  StatusOr<Principal> Admit(const grpc::CallbackServerContext& call, std::string_view method);
  Status Deny(const Status& why, std::string_view peer, std::string_view method);

  RpcMetrics& rpc() { return rpc_; }
  StreamHub& hub() { return hub_; }
  Stepper& stepper() { return stepper_; }
  WorkPool& pool() { return pool_; }            // milliseconds each
  WorkPool& long_pool() { return long_pool_; }  // hashing whole checkpoints

  // Every stream object, however long callbacks of the store or the history hold on to it.
  void StreamBorn();
  void StreamGone();
  // True once there are none.
  bool WaitForStreams(absl::Duration timeout);

 private:
  const ServiceContext context_;
  RpcMetrics rpc_;
  prometheus::Family<prometheus::Counter>& denied_;
  absl::Mutex mu_;
  int64_t streams_ ABSL_GUARDED_BY(mu_) = 0;
  // Denials are logged at most 20 a second; how many were not is told with the next that is.
  absl::Duration log_window_ ABSL_GUARDED_BY(mu_);
  int logged_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t not_logged_ ABSL_GUARDED_BY(mu_) = 0;
  // Last, so that work still queued finds the rest alive.
  Stepper stepper_;
  StreamHub hub_;
  WorkPool pool_;
  WorkPool long_pool_;
  StopSignal stop_;
  Thread ticker_;

 public:
  ~ServiceRuntime();
};

// One RPC's place in the metrics, from its begin to its answer.
class CallRecord {
 public:
  CallRecord(ServiceRuntime& runtime, std::string_view method);
  void Received() { method_.Received(); }
  void Sent() { method_.Sent(); }
  void Answered(StatusCode code);  // once

 private:
  const Clock& clock_;
  RpcMetrics::Method& method_;
  const absl::Duration begin_;
};

}  // namespace trainyard::coordinator

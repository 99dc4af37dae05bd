// Where blocking work (files, hashes, SQL) runs, so that no gRPC callback ever waits.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "common/thread.h"

namespace trainyard::coordinator {

// A few threads and a bounded queue. Thread-safe.
class WorkPool {
 public:
  WorkPool(const std::string& name, int threads, size_t queue_max);
  ~WorkPool();  // does what is queued, then joins

  // ResourceExhausted, reason OVERLOADED, when the queue is full.
  Status Submit(std::function<void()> work);

 private:
  void Run();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_ || !queue_.empty(); }

  const size_t queue_max_;
  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Thread> threads_;
};

// Something that goes on in steps whenever it is woken: every stream is one. Steps of one Stepping
// never overlap.
class Stepping : public std::enable_shared_from_this<Stepping> {
 public:
  virtual ~Stepping() = default;
  // Does what can be done now; may block on files, never on a peer.
  virtual void Step() = 0;

 private:
  friend class Stepper;
  enum class State { kIdle, kQueued, kStepping, kSteppingAndWoken };
  absl::Mutex step_mu_;
  State step_state_ ABSL_GUARDED_BY(step_mu_) = State::kIdle;
};

// Runs steps on a few threads. Each Stepping is queued at most once however often it is woken, so
// the queue is no longer than the number of streams. Thread-safe.
class Stepper {
 public:
  Stepper(const std::string& name, int threads);
  void Wake(std::shared_ptr<Stepping> stepping);

 private:
  void Enqueue(std::shared_ptr<Stepping> stepping);
  void StepOnce(const std::shared_ptr<Stepping>& stepping);
  WorkPool pool_;
};

}  // namespace trainyard::coordinator

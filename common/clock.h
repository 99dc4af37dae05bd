// Time comes in as an argument. SystemClock is the only place that asks the operating system;
// SimulatedClock stands still until a test moves it.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

namespace trainyard {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall-clock time for people and files. May jump when an operator sets the clock.
  virtual absl::Time Now() const = 0;
  // Time since some fixed moment; never goes back. All deadlines are measured on it.
  virtual absl::Duration Elapsed() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Elapsed() const override;
};

// Thread-safe.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(absl::Time start) : start_(start) {}
  absl::Time Now() const override;
  absl::Duration Elapsed() const override;
  void Advance(absl::Duration by);

 private:
  const absl::Time start_;
  mutable absl::Mutex mu_;
  absl::Duration elapsed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard

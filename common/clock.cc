#include "common/clock.h"

#include <absl/time/clock.h>

#include <chrono>

namespace trainyard {

absl::Time SystemClock::Now() const { return absl::Now(); }

absl::Duration SystemClock::Elapsed() const {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

absl::Time SimulatedClock::Now() const {
  absl::MutexLock lock(&mu_);
  return start_ + elapsed_;
}

absl::Duration SimulatedClock::Elapsed() const {
  absl::MutexLock lock(&mu_);
  return elapsed_;
}

void SimulatedClock::Advance(absl::Duration by) {
  absl::MutexLock lock(&mu_);
  elapsed_ += by;
}

}  // namespace trainyard

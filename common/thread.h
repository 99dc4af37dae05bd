// A named thread that joins when it goes out of scope, and a way to tell it to stop.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <functional>
#include <string>
#include <thread>

namespace trainyard {

// Fires once and stays fired. Thread-safe.
class StopSignal {
 public:
  void Stop();
  bool stopped() const;
  // Waits until the signal fires or `timeout` passes; true if it fired.
  bool WaitFor(absl::Duration timeout) const;

 private:
  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

// The calling thread alone yields to the others of its machine: its niceness grows by `by` (19 at
// most), and with it the idleness of its disk requests. Cannot be taken back without privileges.
void LowerOwnPriority(int by);

class Thread {
 public:
  Thread() = default;
  // `name` shows in ps and gdb (15 characters at most are kept).
  Thread(std::string name, std::function<void()> body);
  Thread(Thread&&) = default;
  Thread& operator=(Thread&&) = default;
  ~Thread() { Join(); }
  void Join();

 private:
  std::thread thread_;
};

}  // namespace trainyard

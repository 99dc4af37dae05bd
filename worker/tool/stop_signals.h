// Ctrl-C ends a tool where it asks, so that what it has begun is removed.
#pragma once

#include <signal.h>

#include "common/status.h"

namespace trainyard::worker {

class StopSignals {
 public:
  // Blocks SIGINT and SIGTERM in the calling thread and those that it starts, for good.
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  // Aborted once one of them has come.
  Status Check() const {
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1)
      return Aborted("stopped by a signal; nothing was left behind");
    return OkStatus();
  }

 private:
  sigset_t signals_;
};

}  // namespace trainyard::worker

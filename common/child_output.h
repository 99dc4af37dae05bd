// What a program writes to its standard output.
#pragma once

#include <absl/time/time.h>

#include <functional>
#include <string>
#include <vector>

#include "common/status.h"

namespace trainyard {

struct ChildOutputOptions {
  absl::Duration time_max = absl::InfiniteDuration();
  std::function<bool()> go_on = {};  // asked several times a second; empty: always
};

// Runs `words` (a path, then arguments) with this process's environment and standard error, and
// waits for its end. Internal when it fails, DeadlineExceeded and Cancelled after it was killed for
// taking too long or because `go_on` said no.
StatusOr<std::string> OutputOf(const std::vector<std::string>& words,
                               const ChildOutputOptions& options = {});

}  // namespace trainyard

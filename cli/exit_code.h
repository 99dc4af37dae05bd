// What the shell learns. Stable: scripts rely on these.
#pragma once

#include <string>

#include "common/status.h"

namespace trainyard::cli {

enum ExitCode : int {
  kOk = 0,
  kJobFailed = 1,
  kUsage = 2,
  kNotFound = 3,
  kDenied = 4,
  kUnavailable = 5,
  kConflict = 6,
  kWaitTimedOut = 124,
  kDetached = 130,
};

// The exit code of an error; kOk for OK.
ExitCode ExitCodeOf(const Status& status);

// Prints "error: MESSAGE" with the field and the reason beneath, on stderr; returns the exit code.
int Fail(const Status& status);

// Fail for a command that answers in words alone and was asked for JSON or YAML; `instead` goes on
// the sentence.
int NoJson(const std::string& command, const std::string& instead);

}  // namespace trainyard::cli

// A program under test as a child process: its output line by line, its end, no sleeps. Whatever a
// test leaves running is killed, by its pid, when the object goes.
#pragma once

#include <absl/time/time.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/files.h"
#include "common/status.h"

namespace trainyard {

struct ProcessOptions {
  std::vector<std::string> command;  // absolute path, then arguments
  std::string secret = {};           // what the child reads from descriptor 3; empty: none is open
  int64_t file_bytes_max = 0;        // RLIMIT_FSIZE; 0: as inherited
};

class Process {
 public:
  static StatusOr<Process> Start(const ProcessOptions& options);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Reads stdout and stderr together until they hold `text` beyond what earlier calls found; false
  // at their end or after `timeout`.
  bool ReadUntil(std::string_view text, absl::Duration timeout = absl::Seconds(60));
  // Reads the rest and waits for the end: the exit code, or minus the signal. DeadlineExceeded with
  // the output when it takes longer. May be asked again.
  StatusOr<int> Wait(absl::Duration timeout = absl::Seconds(60));
  const std::string& output() const { return output_; }

 private:
  Process(pid_t pid, UniqueFd output) : pid_(pid), fd_(std::move(output)) {}
  // False at the end of the output or after the deadline.
  bool ReadMore(absl::Time deadline);
  pid_t pid_;  // 0: it has ended
  int end_ = 0;
  UniqueFd fd_;
  std::string output_;
  size_t found_ = 0;  // ReadUntil looks from here on
};

}  // namespace trainyard

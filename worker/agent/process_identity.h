// A process that cannot be mistaken for a later one with the same number: pid, start time and boot.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

struct ProcessIdentity {
  pid_t pid = 0;
  int64_t start_ticks = 0;  // since boot, field 22 of /proc/PID/stat (proc(5))
  std::string boot_id;      // /proc/sys/kernel/random/boot_id
  bool operator==(const ProcessIdentity&) const = default;
};

struct ProcessStat {
  char state = '?';  // 'Z': dead, not yet waited for
  pid_t group = 0;
  int64_t start_ticks = 0;
  int64_t cpu_ticks = 0;  // user and system, all threads
  int64_t rss_bytes = 0;
};

// NotFound when there is no such process.
StatusOr<ProcessStat> ReadProcessStat(pid_t pid);

// The running kernel's; empty when it cannot be read, and then nothing is ever adopted.
std::string BootId();

StatusOr<ProcessIdentity> IdentityOf(pid_t pid);

// A descriptor of this very process, readable (poll) once it is dead. NotFound when it is gone or
// its number belongs to another process now; a zombie counts as gone.
StatusOr<UniqueFd> OpenProcess(const ProcessIdentity& identity);

// SIGKILL to the process group that `identity` leads; nothing happens when the number belongs to
// another process now. OK when nobody was left.
Status KillGroup(const ProcessIdentity& identity);

}  // namespace trainyard::worker

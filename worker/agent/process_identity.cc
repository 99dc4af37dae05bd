#include "worker/agent/process_identity.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

namespace trainyard::worker {

StatusOr<ProcessStat> ReadProcessStat(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/stat", pid);
  StatusOr<std::string> text = ReadFile(path, 1 << 16);
  // ESRCH (reading an entry that just died) means the same as ENOENT.
  if (!text.ok()) return NotFound("there is no process {} ({})", pid, MessageOf(text.status()));
  // The command's name stands in parentheses and may hold anything: fields begin after the last
  // one.
  const size_t end_of_name = text->rfind(')');
  if (end_of_name == std::string::npos) return Internal("{} has no command name", path);
  std::istringstream rest(text->substr(end_of_name + 1));
  std::vector<std::string> fields;  // fields[0] is field 3 of proc(5)
  for (std::string field; rest >> field;) fields.push_back(field);
  if (fields.size() < 22) return Internal("{} has only {} fields", path, fields.size() + 2);
  const auto number = [&](size_t proc_field) {
    return std::strtoll(fields[proc_field - 3].c_str(), nullptr, 10);
  };
  ProcessStat stat;
  stat.state = fields[0][0];
  stat.group = static_cast<pid_t>(number(5));
  stat.cpu_ticks = number(14) + number(15);
  stat.start_ticks = number(22);
  stat.rss_bytes = number(24) * sysconf(_SC_PAGESIZE);
  return stat;
}

std::string BootId() {
  StatusOr<std::string> text = ReadFile("/proc/sys/kernel/random/boot_id", 256);
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

StatusOr<ProcessIdentity> IdentityOf(pid_t pid) {
  ASSIGN_OR_RETURN(const ProcessStat stat, ReadProcessStat(pid));
  return ProcessIdentity{pid, stat.start_ticks, BootId()};
}

StatusOr<UniqueFd> OpenProcess(const ProcessIdentity& identity) {
  const Status gone = NotFound("process {} is gone", identity.pid);
  if (identity.pid <= 0 || identity.boot_id.empty() || identity.boot_id != BootId()) return gone;
  // Open first, look second: if the start time still agrees, the descriptor is of that process.
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0)));
  if (!fd.valid()) {
    if (errno == ESRCH) return gone;
    return ErrnoStatus(errno, fmt::format("cannot watch process {}", identity.pid));
  }
  StatusOr<ProcessStat> stat = ReadProcessStat(identity.pid);
  if (!stat.ok() || stat->start_ticks != identity.start_ticks || stat->state == 'Z' ||
      stat->state == 'X')
    return gone;
  return fd;
}

Status KillGroup(const ProcessIdentity& identity) {
  if (identity.pid <= 1 || identity.boot_id.empty() || identity.boot_id != BootId())
    return OkStatus();
  // While a group has members its number is not given to a new process. So if nobody has the
  // leader's number, or the leader (alive or zombie) still has it, the group is the one we made.
  const StatusOr<ProcessStat> leader = ReadProcessStat(identity.pid);
  if (leader.ok() && leader->start_ticks != identity.start_ticks) return OkStatus();
  if (::kill(-identity.pid, SIGKILL) != 0 && errno != ESRCH)
    return ErrnoStatus(errno, fmt::format("cannot kill process group {}", identity.pid));
  return OkStatus();
}

}  // namespace trainyard::worker

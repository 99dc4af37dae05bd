// Starts one trainer so that it outlives the agent, and watches it end.
//
// The child leads its own process group, has no descriptor but /dev/null, its log and its secret,
// a clean environment, no core dumps, and is the first to be taken when memory runs out. It is not
// tied to the agent's life. Its program begins only after the agent has written down who it is
// (`record`): an agent that dies before leaves no process behind that nobody knows of.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/status.h"
#include "worker/agent/process_identity.h"

namespace trainyard::worker {

struct SpawnRequest {
  std::vector<std::string> command;  // absolute path of the program, then its arguments
  std::map<std::string, std::string> environment;  // all of it
  std::filesystem::path log;                       // created with mode 0600, appended to
  std::filesystem::path folder;                    // the child's working directory
  // Read by the child from kSecretFd, then end of file. At most 4096 bytes.
  std::string secret;
  int64_t open_files_max = 65536;  // lowered to the hard limit
};

inline constexpr int kSecretFd = 3;

struct Spawned {
  ProcessIdentity identity;
  UniqueFd pidfd;  // readable once the process is dead
};

// `record` is called between fork and exec; when it fails the child never runs. The error of a
// program that cannot be run (absent, not executable) comes back here.
StatusOr<Spawned> Spawn(const SpawnRequest& request,
                        const std::function<Status(const ProcessIdentity&)>& record);

struct ExitStatus {
  int exit_code = 0;
  int signal = 0;  // 0: it exited by itself
};

// Ends what is left of the group of a dead process and, when it was a child, reaps it and says how
// it ended; nothing for an adopted process, whose status went to another parent.
StatusOr<std::optional<ExitStatus>> Bury(const ProcessIdentity& identity, int pidfd);

// What the trainers' environment has: PATH, HOME, LANG, TZ, TMPDIR, LD_LIBRARY_PATH, the
// kKernelVariables (common/machine.h) and NCCL_* of the agent's own; OMP_NUM_THREADS;
// CUDA_VISIBLE_DEVICES (empty for a CPU slot). No tokens.
std::map<std::string, std::string> TrainerEnvironment(int64_t threads,
                                                      const std::string& cuda_device);

// Processes the kernel killed for want of memory since boot, this host over (/proc/vmstat); -1
// where the kernel does not say.
int64_t OutOfMemoryKills();

}  // namespace trainyard::worker

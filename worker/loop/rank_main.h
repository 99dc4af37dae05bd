// One rank of a submitted job: the process that a worker's agent starts.
#pragma once

#include <filesystem>

#include "common/status.h"

namespace trainyard::worker {

struct RankMainOptions {
  std::filesystem::path spec_file;  // link::RankSpec
  int secret_fd = -1;               // the agent's secret, until end of file
  double agent_timeout_seconds = 60;
};

// Runs the rank to its end and leaves an exit record in its work_dir, whatever happens: no record
// means that the process was killed. Returns the exit code: 0 succeeded, 1 failed, 130 stopped.
int RankMain(const RankMainOptions& options);

}  // namespace trainyard::worker

// A job run by hand: one rank, no agent, no coordinator; whoever calls it is the submitting user,
// so the job's data paths are read directly. Everything lies in one folder:
//
//   OUT/recorded.json   the checkpoints that count, and the number of attempts so far
//   OUT/metrics.jsonl   one metric point a line
//   OUT/checkpoints/NAME/step-00000400-a1/, OUT/prepared/   as in a BlobStore
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::worker {

struct ByHandOptions {
  std::filesystem::path job_file;  // a job file (YAML), or a spec as JSON, resolved or not
  std::filesystem::path out;
  bool resume = false;           // go on from the newest recorded checkpoint in `out`
  std::vector<std::string> set;  // "train.max_steps=10"
};

// Runs the job to its outcome. The first SIGTERM or SIGINT of the process stops it with a
// checkpoint, the second at once; both must be blocked in every thread. A damaged checkpoint is
// refused by name and the one before it is used. Errors before the job begins are a Status.
StatusOr<link::Outcome> RunByHand(const ByHandOptions& options);

}  // namespace trainyard::worker

// A job small enough to train in a second: 2 layers of 64, 512 tokens, rows of 64.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/status.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace trainyard::worker {

// Text with something to learn: sentences of a small grammar, the same in every run. `bytes` at
// least.
std::string GrammarText(size_t bytes, uint64_t seed);

// One metric point of OUT/metrics.jsonl; where a step was done twice, the later attempt's.
using Curve = std::map<int64_t, double>;  // step -> value

// Jobs by hand in a folder of the test's own.
class TinyJob {
 public:
  TinyJob();

  // The job file. `set` are lines below the groups, e.g. {"train", "max_steps: 5"}.
  const std::filesystem::path& file() const { return file_; }
  std::filesystem::path folder() const { return folder_.path(); }
  std::filesystem::path Out(const std::string& name) const { return folder_.path() / name; }

  // trainyard-trainer run FILE --out OUT ...
  StatusOr<Process> Start(const std::string& out, const std::vector<std::string>& more = {},
                          int64_t file_bytes_max = 0) const;
  // The same to its end: its exit code. The output is in `output` if given.
  StatusOr<int> Run(const std::string& out, const std::vector<std::string>& more = {},
                    std::string* output = nullptr) const;

  // OUT's checkpoint of a step, whichever attempt wrote it.
  StatusOr<std::filesystem::path> CheckpointOf(const std::string& out, int64_t step) const;
  // SHA-256 of the checkpoint's weights followed by that of its optimiser.
  StatusOr<std::string> WeightsOf(const std::string& out, int64_t step) const;
  Curve Metric(const std::string& out, const std::string& name) const;

 private:
  const TempFolder folder_;
  std::filesystem::path file_;
};

std::filesystem::path TrainerProgram();

}  // namespace trainyard::worker

// What a rank's memory came to, beside what the plan said.
#pragma once

#include <cstdint>

#include "common/job_spec/job_spec.h"

namespace trainyard::worker {

class MemoryLog {
 public:
  // Call it before the model is loaded: what is resident now is not the model's. From here on the
  // kernel's peak counts, where it lets a process begin it anew.
  void Begin();
  // Says in the log: the plan's total, the engine's arena, the peak of resident memory beyond what
  // it was at Begin (mapped data included).
  void Tell(const JobSpec& spec, int64_t vocab_size, bool bfloat16, int rank) const;

 private:
  int64_t resident_before_ = 0;  // bytes
};

}  // namespace trainyard::worker

// How a rank ended, from everything that can be known: its exit record, the status of its process
// (only for a child), what the agent did to it, whether the kernel ran out of memory.
#pragma once

#include <optional>
#include <string>

#include "common/link/exit_record.h"
#include "common/status.h"
#include "worker/agent/journal.h"
#include "worker/agent/rank_process.h"

namespace trainyard::worker {

struct DeathFacts {
  StatusOr<link::ExitRecord> record = NotFound("no exit record");
  std::optional<ExitStatus> status;  // nothing: it was adopted
  std::string killed_why;            // the agent killed it, for this reason; empty: it did not
  bool out_of_memory_kills = false;  // the kernel killed for want of memory around that time
};

RankEnd EndOf(const RankKey& key, const DeathFacts& facts);

// The end of a rank whose process could not be started.
RankEnd StartFailed(const Status& why);

}  // namespace trainyard::worker

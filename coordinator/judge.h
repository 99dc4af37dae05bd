// What the ranks of an attempt say together: does it work, has it succeeded, must it end and why?
// Pure.
#pragma once

#include <absl/time/time.h>

#include <optional>
#include <string>
#include <vector>

#include "coordinator/state/change.h"
#include "coordinator/state/cluster.h"
#include "coordinator/state/job.h"
#include "coordinator/state/reasons.h"

namespace trainyard::coordinator {

// One rank of an open attempt, as far as this start of the coordinator knows. Not durable: workers
// report it again.
struct RankState {
  RankLive live;
  absl::Time last_seen = absl::InfinitePast();  // steady
  bool seen = false;                            // some report had it
  bool gone = false;                            // it has no process any more, or its worker is lost
  std::optional<Outcome> outcome;
  int64_t failed_checkpoint_step = 0;  // newest one told of
  int reports_without = 0;             // while the attempt ends
};

struct Verdict {
  enum class Kind { kNothing, kWorks, kSucceeded, kEnds };
  Kind kind = Kind::kNothing;
  Why why;                           // kEnds
  Remedy remedy = Remedy::kReplace;  // kEnds
  absl::Duration after;              // kEnds: only if it still is so then
};

// `ranks` in rank order, as many as the attempt has.
Verdict Judge(const Job& job, const Attempt& attempt, const std::vector<RankState>& ranks);

// The first cause among what the ranks say, survivors' complaints about a peer last; nothing when
// no rank failed.
struct Cause {
  Why why;
  Remedy remedy = Remedy::kReplace;
};
std::optional<Cause> FirstCause(const Attempt& attempt, const std::vector<RankState>& ranks);

// "rank 1 on worker-1"
std::string RankName(const Attempt& attempt, int32_t rank);

}  // namespace trainyard::coordinator

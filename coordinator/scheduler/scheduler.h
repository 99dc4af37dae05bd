// Which attempts start now, and why the others do not. Pure: the same time, queue and cluster give
// the same decision.
//
// Policy:
//   * Gang: all ranks of a job start together or none does.
//   * Larger priority first; then jobs that already ran (they recover); then the older job.
//   * A job that does not fit now holds up every later job of its device kind: run times are not
//     known, so no later job could be proven not to delay it. There is no backfill.
//   * Three kinds of job hold up nobody: one whose back-off is not over, one whose last ranks are
//     still stopping, and one that the known workers could not hold even when idle.
//   * Fewest workers, then fewest hosts; the fullest slot that still fits a share.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/state/job.h"

namespace trainyard::coordinator {

struct RankDemand {
  std::string role = "train";
  double share = 1.0;  // of one slot, in (0, 1]
};

struct Demand {
  JobId job;
  int64_t priority = 0;
  bool ran_before = false;
  int64_t age = 0;  // position in the order of creation: smaller is older
  std::string device = "cpu";
  std::vector<RankDemand> ranks;
  absl::Time not_before = absl::InfinitePast();
  bool stopping = false;  // ranks of its last attempt are not known to be gone yet
};

struct MoreUrgent {
  bool operator()(const Demand& a, const Demand& b) const;
};
using Queue = std::set<Demand, MoreUrgent>;

struct SlotUse {
  int32_t index = 0;
  std::string device = "cpu";
  double used = 0;  // sum of the shares of live attempts
  std::vector<JobId> used_by;
};

struct WorkerUse {
  WorkerId id;
  std::string host_id;
  std::string unusable;  // why no rank may start here now, "" if one may: "is unreachable"
  std::vector<SlotUse> slots;
};

struct Cluster {
  std::vector<WorkerUse> workers;
};

struct Placement {
  JobId job;
  std::vector<RankPlacement> ranks;  // in rank order
  std::string reason;                // "2 cpu slots on worker-0, worker-1"
};

struct Wait {
  JobId job;
  std::string
      code;  // NO_WORKERS | TOO_LARGE | BACK_OFF | RANKS_STOPPING | NO_FREE_SLOTS | BEHIND_OTHERS
  std::string sentence;  // what it wants, what there is, what it waits for, what to do
};

inline constexpr size_t kWaitsMax = 100;

struct Decision {
  std::vector<Placement> start;  // most urgent first
  // One for every job looked at and not started, the first kWaitsMax of them. Jobs behind the first
  // that is held up are not looked at: ask WhyWaiting about one of those.
  std::vector<Wait> waits;
};

Decision Schedule(absl::Time now, const Queue& queue, const Cluster& cluster);

// Why this member of the queue has not started.
Wait WhyWaiting(absl::Time now, const Queue& queue, const Cluster& cluster, const Demand& demand);

}  // namespace trainyard::coordinator

// Has an attempt stopped making progress, and which rank is to blame? Pure.
//
// Ranks that share gradients stop within a step of each other, whichever of them hung: the others
// wait for it inside a collective. So an attempt hangs when nobody in it makes progress, and the
// rank to name is the one whose process says nothing at all, or else the one that is behind: it has
// entered the fewest collectives.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/state/job.h"

namespace trainyard::coordinator {

struct HangLimits {
  absl::Duration deadline_min = absl::Seconds(15);
  // Of the job's spec; zero: none. The deadline of a step is
  // max(deadline_min, step_timeout, 6 x p99 of its steps).
  absl::Duration step_timeout = absl::ZeroDuration();
  // Ages are as old as the last report: this much is taken off, so that the deadline holds as seen
  // from outside. Covers two report periods, a step and a tick.
  absl::Duration margin = absl::Seconds(3);
};

struct RankBeat {
  int32_t rank = 0;
  RankLive live;
};

struct HungRank {
  int32_t rank = 0;
  int64_t step = 0;
  std::string phase;
  absl::Duration beat_age;
  absl::Duration deadline;
};

// `ranks`: every rank of the attempt, as last reported. Nobody hangs while any of them waits for
// the coordinator or is in a phase without a step deadline; a phase that writes a checkpoint has
// ten times the deadline and at least two minutes. A rank without a phase was adopted by a daemon
// that has not heard from it: it has the deadline of a step, since the attempt runs.
std::optional<HungRank> FindHungRank(const std::vector<RankBeat>& ranks, const HangLimits& limits);

// The rank whose process is silent, else the one that is behind the others; null for none.
const RankBeat* FurthestBehind(const std::vector<RankBeat>& ranks);

// True for phases in which a rank has begun its work: the attempt runs when all ranks are in one.
bool IsWorkingPhase(std::string_view phase);

}  // namespace trainyard::coordinator

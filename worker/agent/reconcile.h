// The level-triggered heart of the agent: what should be, what is, and the time decide what to do
// next. A pure function: called after every event with everything known, it repeats an action until
// the world shows its effect, so lost and repeated messages do no harm.
//
// Invariants of what it decides:
//   * A rank is started only while no process of another attempt of the same job and rank is alive
//   here:
//     the slot is free before it is given out again.
//   * A key is started at most once as long as its entry is here: an ended rank is never restarted.
//   * A process that is not desired is killed; nothing is forgotten before its process is dead.
#pragma once

#include <absl/time/time.h>

#include <string>
#include <vector>

#include "worker/agent/rank_key.h"

namespace trainyard::worker {

enum class Stop { kNone, kCheckpoint, kNow };

struct WantedRank {
  RankKey key;
  Stop stop = Stop::kNone;
};

struct PresentRank {
  RankKey key;
  bool alive = false;  // a process; false: it ended, or never came to be
  bool kill_sent = false;
  // When this agent first saw that the rank is to stop with a checkpoint, or at once.
  absl::Duration stop_checkpoint_since = absl::InfiniteDuration();
  absl::Duration stop_now_since = absl::InfiniteDuration();
  // When it was first seen dead and not desired.
  absl::Duration unwanted_since = absl::InfiniteDuration();
  bool shipped = false;  // logs and telemetry are safe at the coordinator
};

struct ReconcileLimits {
  // From the order to stop to SIGKILL. Longer saves the last steps of slow disks (a 124M model took
  // 8 s on one of 180 MB/s, beside which another may be under way); costs the time until the slot
  // is free.
  absl::Duration checkpoint_grace = absl::Seconds(50);
  absl::Duration now_grace = absl::Seconds(3);
  // A dead rank's folder goes after this time even if its last log bytes could not be shipped.
  absl::Duration forget_after = absl::Minutes(10);
};

enum class ActionKind {
  kStart,    // spawn the process
  kDecline,  // told to stop before it was started: note it as ended without a process
  kKill,     // SIGKILL to its group
  kForget,   // delete the folder, drop the entry
};

struct Action {
  ActionKind kind;
  RankKey key;
  std::string why;  // for the log
  bool operator==(const Action&) const = default;
};

// Keys are unique within each list. `now` is Clock::Elapsed.
std::vector<Action> Reconcile(const std::vector<WantedRank>& wanted,
                              const std::vector<PresentRank>& present, absl::Duration now,
                              const ReconcileLimits& limits);

// The next moment at which Reconcile would decide otherwise if nothing but time changed.
absl::Duration NextDeadline(const std::vector<PresentRank>& present, const ReconcileLimits& limits);

}  // namespace trainyard::worker

// The life of an attempt: it starts, its ranks come to work, it ends in two steps. An attempt that
// must go is *ending* first (its ranks are told to stop, its slots stay taken) and *ended* once
// every rank is known to have no process: it said so, its worker no longer has it, or its worker is
// lost.
//
// All functions are called under the coordinator's lock. An error means that the store took no
// events and nothing changed: the same decision comes again with the next report or tick.
#pragma once

#include "common/status.h"
#include "coordinator/ledger.h"

namespace trainyard::coordinator {

// Starts the next attempt of a job from its newest recorded checkpoint.
Status StartAttempt(Ledger& ledger, JobEntry& entry, const Placement& placement);

// Does what is due after something became known about the ranks of the open attempt: the job runs,
// succeeds, recovers or fails; an ending attempt has ended.
Status Advance(Ledger& ledger, JobEntry& entry);

// Ends the open attempt for `why`; the job fails or gets another attempt, as `remedy` and
// limits.max_attempts say. `first`: events that belong before.
Status EndAttempt(Ledger& ledger, JobEntry& entry, const Why& why, Remedy remedy,
                  std::vector<Change> first = {});

// The attempt is stopped because the job is to be cancelled, paused or preempted.
Status StopAttempt(Ledger& ledger, JobEntry& entry, const Actor& actor, const Change& state_change,
                   const Why& why);

// The attempt's ranks are told to finish their step, write a checkpoint and stop.
bool SavesAndStops(const Job& job, const Attempt& attempt);

// What happens when the job was too long in its state.
Status TakeDeadline(Ledger& ledger, JobEntry& entry);

// Back-off before the next attempt after so many in a row without a new checkpoint: 0, 1, 2, 4 ...
// at most 64 s.
absl::Duration BackOff(int32_t attempts_without_progress);

}  // namespace trainyard::coordinator

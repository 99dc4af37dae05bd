#include "coordinator/attempts.h"

#include <algorithm>
#include <utility>

#include "common/require.h"

namespace trainyard::coordinator {
namespace {

constexpr char kSelf[] = "coordinator";

const Attempt& Open(const JobEntry& entry) {
  const Attempt* open = OpenAttempt(*entry.job);
  REQUIRE(open != nullptr);
  return *open;
}

bool AllGone(const JobEntry& entry) {
  return std::all_of(entry.ranks.begin(), entry.ranks.end(),
                     [](const RankState& rank) { return rank.gone; });
}

// The recorded checkpoint that the attempt went on from; null if it is in the list no more.
const Checkpoint* ResumedFrom(const Job& job, const Attempt& attempt) {
  for (const Checkpoint& checkpoint : job.checkpoints) {
    if (checkpoint.step == attempt.resumed_from_step && checkpoint.attempt < attempt.number) {
      return &checkpoint;
    }
  }
  return nullptr;
}

Change DropDamaged(const Checkpoint& checkpoint) {
  return CheckpointDeleted(checkpoint, "it does not have the bytes that were recorded");
}

Why RunsWhy(const Attempt& attempt) {
  return {"RUNNING", ReasonOwner::kNone,
          fmt::format("attempt {} runs with {} rank{}", attempt.number, attempt.ranks.size(),
                      attempt.ranks.size() == 1 ? "" : "s")};
}

Status Run(Ledger& ledger, JobEntry& entry) {
  const JobState state = entry.job->state;
  if (state != JobState::kStarting && state != JobState::kRecovering) return OkStatus();
  return ledger.Emit(entry, kSelf,
                     {JobStateChanged(state, JobState::kRunning, RunsWhy(Open(entry)))});
}

Status Succeed(Ledger& ledger, JobEntry& entry) {
  const Attempt& attempt = Open(entry);
  const int64_t step = NewestCheckpoint(*entry.job)->step;
  const Why why = {"SUCCEEDED", ReasonOwner::kNone,
                   fmt::format("finished step {}; its checkpoint is recorded", step)};
  std::vector<Change> changes;
  JobState state = entry.job->state;
  if (state == JobState::kStarting || state == JobState::kRecovering) {
    changes.push_back(JobStateChanged(state, JobState::kRunning, RunsWhy(attempt)));
    state = JobState::kRunning;
  }
  changes.push_back(AttemptEnded(attempt, why));
  if (state == JobState::kRunning) {
    changes.push_back(JobStateChanged(state, JobState::kSucceeded, why));
    return ledger.Emit(entry, kSelf, changes);
  }
  RETURN_IF_ERROR(ledger.Emit(entry, kSelf, changes));
  return Advance(ledger, entry);
}

// Holds a verdict back until it has stood for `verdict.after`.
bool MayAct(JobEntry& entry, const Verdict& verdict, absl::Time now) {
  if (entry.held_reason != verdict.why.reason) {
    entry.held_reason = verdict.why.reason;
    entry.held_since = now;
  }
  return now - entry.held_since >= verdict.after;
}

// "cancelled by client:ada; the checkpoint of step 12 is recorded"
std::string CancelledMessage(const Job& job) {
  const Checkpoint* newest = NewestCheckpoint(job);
  if (newest == nullptr) return job.message;
  return fmt::format("{}; the checkpoint of step {} is recorded", job.message, newest->step);
}

// The state after an ending attempt has ended, for states that waited for it.
std::optional<Change> NextState(const Job& job, const Cause& cause) {
  const auto go = [&job](JobState to, Why why) { return JobStateChanged(job.state, to, why); };
  switch (job.state) {
    case JobState::kCancelling:
      return go(JobState::kCancelled, {"CANCELLED", ReasonOwner::kUser, CancelledMessage(job)});
    case JobState::kPreempting:
      return go(JobState::kQueued, {"PREEMPTED", ReasonOwner::kSystem, job.message});
    case JobState::kPausing:
      return go(JobState::kPaused, {"PAUSED", ReasonOwner::kUser, job.message});
    case JobState::kQueued:
    case JobState::kRecovering:
      // A better cause came to light while the ranks were stopping.
      if (cause.remedy != Remedy::kFail) return std::nullopt;
      return go(JobState::kFailed, cause.why);
    default:
      return std::nullopt;
  }
}

Status FinishEnding(Ledger& ledger, JobEntry& entry) {
  if (!AllGone(entry)) return OkStatus();
  const Attempt& attempt = Open(entry);
  const ReasonRow row = FindReason(attempt.end_reason);
  Cause cause{{attempt.end_reason, row.owner, attempt.end_message}, Remedy::kReplace};
  std::vector<Change> changes;
  if (IsEcho(attempt.end_reason)) {
    const auto better = FirstCause(attempt, entry.ranks);
    if (better && !IsEcho(better->why.reason) && better->why.reason != "STOPPED") cause = *better;
    const Checkpoint* resumed = ResumedFrom(*entry.job, attempt);
    if (cause.remedy == Remedy::kDropCheckpoint && resumed != nullptr) {
      changes.push_back(DropDamaged(*resumed));
    }
  }
  changes.push_back(AttemptEnded(attempt, cause.why));
  if (auto next = NextState(*entry.job, cause)) changes.push_back(*std::move(next));
  return ledger.Emit(entry, kSelf, changes);
}

// What the job becomes when its attempt ends for `why`.
Change AfterAttempt(const Job& job, const Attempt& attempt, const Why& why, Remedy remedy,
                    absl::Time wall_now) {
  const int32_t tries = job.attempts_without_progress + 1;
  if (remedy == Remedy::kFail) return JobStateChanged(job.state, JobState::kFailed, why);
  if (tries >= job.spec->limits.max_attempts) {
    Why last = why;
    last.message = fmt::format(
        "{} attempts ended without a new checkpoint (limits.max_attempts); "
        "the last one: {}",
        tries, why.message);
    return JobStateChanged(job.state, JobState::kFailed, last);
  }
  const absl::Duration back_off = BackOff(tries);
  const absl::Time not_before =
      back_off > absl::ZeroDuration() ? wall_now + back_off : absl::InfinitePast();
  Why next = why;
  next.message = fmt::format("attempt {} ended: {}", attempt.number, why.message);
  if (job.state == JobState::kRecovering) return JobNoted(next, not_before);
  return JobStateChanged(job.state, JobState::kRecovering, next, not_before);
}

}  // namespace

absl::Duration BackOff(int32_t attempts_without_progress) {
  if (attempts_without_progress <= 1) return absl::ZeroDuration();
  return absl::Seconds(1 << std::min(attempts_without_progress - 2, 6));
}

bool SavesAndStops(const Job& job, const Attempt& attempt) {
  if (IsEnding(attempt)) return false;
  return job.state == JobState::kPausing || job.state == JobState::kPreempting ||
         (job.state == JobState::kCancelling && !job.cancel_now);
}

Status StartAttempt(Ledger& ledger, JobEntry& entry, const Placement& placement) {
  const Job& job = *entry.job;
  Attempt attempt;
  attempt.number = job.attempts.empty() ? 1 : job.attempts.back().number + 1;
  attempt.ranks = placement.ranks;
  const Checkpoint* newest = NewestCheckpoint(job);
  attempt.resumed_from_step = newest == nullptr ? -1 : newest->step;
  std::vector<Change> changes = {AttemptStarted(attempt, placement.reason)};
  const Why why = {"STARTING", ReasonOwner::kNone,
                   fmt::format("attempt {} starts: {}", attempt.number, placement.reason)};
  if (job.state == JobState::kQueued) {
    changes.push_back(JobStateChanged(job.state, JobState::kStarting, why));
  } else {
    changes.push_back(JobNoted(why));
  }
  RETURN_IF_ERROR(ledger.Emit(entry, kSelf, changes));
  ++ledger.counters().attempts_started;
  // Recovering: the wait for slots is over, the time to start begins.
  entry.deadline = ledger.Steady() + FindDeadline(entry.job->state)->within;
  return OkStatus();
}

Status Advance(Ledger& ledger, JobEntry& entry) {
  const Attempt* open = OpenAttempt(*entry.job);
  if (open == nullptr) {
    // All ranks had finished by themselves when the job was stopped.
    const auto next = NextState(*entry.job, {});
    if (!next) return OkStatus();
    return ledger.Emit(entry, kSelf, {*next});
  }
  if (IsEnding(*open)) return FinishEnding(ledger, entry);
  const Verdict verdict = Judge(*entry.job, *open, entry.ranks);
  if (verdict.kind != Verdict::Kind::kEnds) entry.held_reason.clear();
  switch (verdict.kind) {
    case Verdict::Kind::kNothing:
      return OkStatus();
    case Verdict::Kind::kWorks:
      return Run(ledger, entry);
    case Verdict::Kind::kSucceeded:
      return Succeed(ledger, entry);
    case Verdict::Kind::kEnds:
      // It does what it was told: nothing went wrong that a reason had to name.
      if (SavesAndStops(*entry.job, *open) && verdict.why.reason == "STOPPED") {
        const Why asked = {entry.job->reason, entry.job->reason_owner, verdict.why.message};
        return EndAttempt(ledger, entry, asked, verdict.remedy);
      }
      if (!MayAct(entry, verdict, ledger.Steady())) return OkStatus();
      return EndAttempt(ledger, entry, verdict.why, verdict.remedy);
  }
  return OkStatus();
}

Status EndAttempt(Ledger& ledger, JobEntry& entry, const Why& why, Remedy remedy,
                  std::vector<Change> first) {
  const Job& job = *entry.job;
  const Attempt& attempt = Open(entry);
  REQUIRE(!IsEnding(attempt));
  std::vector<Change> changes = std::move(first);
  changes.push_back(AttemptEnding(attempt, why, /*counts=*/true));
  const Checkpoint* resumed = ResumedFrom(job, attempt);
  if (remedy == Remedy::kDropCheckpoint && resumed != nullptr) {
    changes.push_back(DropDamaged(*resumed));
  }
  const bool was_wanted = job.state == JobState::kStarting || job.state == JobState::kRunning ||
                          job.state == JobState::kRecovering;
  if (was_wanted) changes.push_back(AfterAttempt(job, attempt, why, remedy, ledger.Wall()));
  RETURN_IF_ERROR(ledger.Emit(entry, kSelf, changes));
  return FinishEnding(ledger, entry);
}

Status StopAttempt(Ledger& ledger, JobEntry& entry, const Actor& actor, const Change& state_change,
                   const Why& why) {
  std::vector<Change> changes = {state_change};
  const Attempt* open = OpenAttempt(*entry.job);
  if (open != nullptr && !IsEnding(*open)) {
    changes.push_back(AttemptEnding(*open, why, /*counts=*/false));
  }
  RETURN_IF_ERROR(ledger.Emit(entry, actor, changes));
  return Advance(ledger, entry);
}

Status TakeDeadline(Ledger& ledger, JobEntry& entry) {
  const JobState state = entry.job->state;
  const StateDeadline* deadline = FindDeadline(state);
  REQUIRE(deadline != nullptr);
  const Why why = {std::string(deadline->reason), ReasonOwner::kInfra,
                   fmt::format("{} took longer than {}", JobStateName(state),
                               absl::FormatDuration(deadline->within))};
  const Attempt* open = OpenAttempt(*entry.job);
  const bool saves = open != nullptr && SavesAndStops(*entry.job, *open);
  if (open != nullptr && !IsEnding(*open)) {
    RETURN_IF_ERROR(EndAttempt(ledger, entry, why, Remedy::kReplace));
  }
  if (entry.job->state != state) return OkStatus();
  if (state == JobState::kCancelling && saves) {
    // The ranks are told only now to go at once; they have their time to be gone.
    entry.deadline = ledger.Steady() + deadline->within;
    return OkStatus();
  }
  return ledger.Emit(entry, kSelf, {JobStateChanged(state, deadline->then, why)});
}

}  // namespace trainyard::coordinator

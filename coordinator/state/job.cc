#include "coordinator/state/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace trainyard::coordinator {
namespace {

using S = JobState;

constexpr std::array<std::pair<JobState, std::string_view>, 12> kNames = {{
    {S::kPending, "PENDING"},
    {S::kQueued, "QUEUED"},
    {S::kStarting, "STARTING"},
    {S::kRunning, "RUNNING"},
    {S::kRecovering, "RECOVERING"},
    {S::kPreempting, "PREEMPTING"},
    {S::kPausing, "PAUSING"},
    {S::kPaused, "PAUSED"},
    {S::kCancelling, "CANCELLING"},
    {S::kSucceeded, "SUCCEEDED"},
    {S::kFailed, "FAILED"},
    {S::kCancelled, "CANCELLED"},
}};

}  // namespace

const std::vector<Transition> kTransitions = {
    {S::kPending, S::kQueued},         // accepted
    {S::kPending, S::kCancelled},      // holds nothing yet: cancelled at once
    {S::kQueued, S::kStarting},        // all its ranks fit
    {S::kQueued, S::kPaused},          //
    {S::kQueued, S::kCancelled},       // nothing runs
    {S::kQueued, S::kCancelling},      // ranks of the last attempt are still stopping
    {S::kQueued, S::kFailed},          // the last attempt turned out to be the user's to mend
    {S::kStarting, S::kRunning},       // every rank works
    {S::kStarting, S::kRecovering},    // a rank was lost or took too long
    {S::kStarting, S::kQueued},        // its slots went to somebody else
    {S::kStarting, S::kFailed},        // the user's to mend, or too many attempts
    {S::kStarting, S::kPausing},       //
    {S::kStarting, S::kCancelling},    //
    {S::kRunning, S::kSucceeded},      // the last step's checkpoint is recorded
    {S::kRunning, S::kRecovering},     // a rank was lost or hung
    {S::kRunning, S::kPreempting},     // a more urgent job needs the slots
    {S::kRunning, S::kFailed},         //
    {S::kRunning, S::kPausing},        //
    {S::kRunning, S::kCancelling},     //
    {S::kRecovering, S::kRunning},     // every rank of the next attempt works
    {S::kRecovering, S::kQueued},      // no slots to recover on in time
    {S::kRecovering, S::kFailed},      //
    {S::kRecovering, S::kPausing},     //
    {S::kRecovering, S::kCancelling},  //
    {S::kPreempting, S::kQueued},      //
    {S::kPreempting, S::kPausing},     //
    {S::kPreempting, S::kCancelling},  //
    {S::kPausing, S::kPaused},         //
    {S::kPausing, S::kCancelling},     //
    {S::kPaused, S::kQueued},          // resumed
    {S::kPaused, S::kCancelled},       //
    {S::kPaused, S::kCancelling},      // ranks of the last attempt are still stopping
    {S::kCancelling, S::kCancelled},   // every rank is gone
    {S::kFailed, S::kQueued},          // retried from the last recorded checkpoint
};

const std::vector<StateDeadline> kStateDeadlines = {
    // Counted anew while a rank makes progress (prepares data, loads, connects).
    {S::kStarting, absl::Minutes(30), S::kRecovering, "START_TIMEOUT"},
    {S::kRecovering, absl::Minutes(10), S::kQueued, "RECOVERY_TIMEOUT"},
    {S::kPreempting, absl::Minutes(2), S::kQueued, "PREEMPT_TIMEOUT"},
    {S::kPausing, absl::Minutes(2), S::kPaused, "PAUSE_TIMEOUT"},
    // The last checkpoint has this long, counted anew while bytes of it are written; then (at once
    // without one) the ranks are killed, and confirming that has this long.
    {S::kCancelling, absl::Seconds(60), S::kCancelled, "STOP_UNCONFIRMED"},
};

bool IsLegal(JobState from, JobState to) {
  return std::any_of(kTransitions.begin(), kTransitions.end(),
                     [&](const Transition& t) { return t.from == from && t.to == to; });
}

bool IsFinal(JobState state) {
  return state == S::kSucceeded || state == S::kFailed || state == S::kCancelled;
}

bool HoldsSlots(JobState state) {
  switch (state) {
    case S::kStarting:
    case S::kRunning:
    case S::kRecovering:
    case S::kPreempting:
    case S::kPausing:
    case S::kCancelling:
      return true;
    default:
      return false;
  }
}

std::string_view JobStateName(JobState state) { return kNames[static_cast<size_t>(state)].second; }

std::optional<JobState> ParseJobState(std::string_view name) {
  for (const auto& [state, text] : kNames) {
    if (text == name) return state;
  }
  return std::nullopt;
}

const StateDeadline* FindDeadline(JobState state) {
  for (const StateDeadline& deadline : kStateDeadlines) {
    if (deadline.state == state) return &deadline;
  }
  return nullptr;
}

std::string_view ReasonOwnerName(ReasonOwner owner) {
  switch (owner) {
    case ReasonOwner::kUser:
      return "USER";
    case ReasonOwner::kInfra:
      return "INFRA";
    case ReasonOwner::kSystem:
      return "SYSTEM";
    case ReasonOwner::kNone:
      break;
  }
  return "";
}

ReasonOwner ParseReasonOwner(std::string_view name) {
  if (name == "USER") return ReasonOwner::kUser;
  if (name == "INFRA") return ReasonOwner::kInfra;
  if (name == "SYSTEM") return ReasonOwner::kSystem;
  return ReasonOwner::kNone;
}

std::string EtagOf(const Job& job) { return fmt::format("{}", job.revision); }

const Attempt* OpenAttempt(const Job& job) {
  if (job.attempts.empty()) return nullptr;
  const Attempt& last = job.attempts.back();
  return last.end_time == absl::InfiniteFuture() ? &last : nullptr;
}

bool IsEnding(const Attempt& attempt) {
  return attempt.end_time == absl::InfiniteFuture() && !attempt.end_reason.empty();
}

const Checkpoint* NewestCheckpoint(const Job& job) {
  return job.checkpoints.empty() ? nullptr : &job.checkpoints.back();
}

std::string CheckpointKey(const JobId& job, int64_t step, AttemptNumber attempt) {
  return fmt::format("checkpoints/{}/step-{:08}-a{}", job.value, step, attempt);
}

}  // namespace trainyard::coordinator

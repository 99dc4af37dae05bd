// Jobs and their attempts as plain values, and the one table of legal transitions.
//
// Invariants:
//   * Attempt numbers of a job only grow, and at most one attempt of a job is live: the last one,
//     while its end_time is unset. The number is the fence: a message with an older one is refused.
//   * A job's state changes only along kTransitions; nothing leaves SUCCEEDED or CANCELLED.
//   * Slots belong to attempts, not to states: an attempt keeps its slots until its end_time is
//   set.
//   * A job is SUCCEEDED only when the checkpoint of its last step is recorded.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/choice.h"
#include "common/ids.h"
#include "common/job_spec/job_spec.h"

namespace trainyard::coordinator {

enum class JobState {
  kPending,  // accepted, not yet queued
  kQueued,
  kStarting,
  kRunning,
  kRecovering,  // a rank was lost; the next attempt is being placed
  kPreempting,
  kPausing,
  kPaused,
  kCancelling,
  kSucceeded,
  kFailed,
  kCancelled,
};

enum class ReasonOwner { kNone, kUser, kInfra, kSystem };

struct Transition {
  JobState from;
  JobState to;
};

// The whole life of a job. docs/architecture.md draws this table; a test compares them.
extern const std::vector<Transition> kTransitions;
bool IsLegal(JobState from, JobState to);
bool IsFinal(JobState state);  // SUCCEEDED, CANCELLED; FAILED may be retried but holds nothing
bool HoldsSlots(JobState state);
std::string_view JobStateName(JobState state);  // "RUNNING"
std::optional<JobState> ParseJobState(std::string_view name);

// States on the way have a time to be done in, and what happens when it is over.
struct StateDeadline {
  JobState state;
  absl::Duration within;
  JobState then;
  std::string_view reason;  // UPPER_SNAKE
};
extern const std::vector<StateDeadline> kStateDeadlines;
const StateDeadline* FindDeadline(JobState state);  // null: none

std::string_view ReasonOwnerName(ReasonOwner owner);  // "USER"; "" for none
ReasonOwner ParseReasonOwner(std::string_view name);

struct MeshPosition {
  int32_t data = 0, tensor = 0, pipeline = 0;
  bool operator==(const MeshPosition&) const = default;
};

// One process of an attempt and the part of a slot it may use.
struct RankPlacement {
  int32_t rank = 0;
  std::string role = "train";
  SlotId slot;
  double share = 1.0;  // the shares of a slot sum to at most 1
  MeshPosition mesh;
};

struct PreparedFile {
  std::string name, key, sha256;
  int64_t size_bytes = 0;
};

// What a rank last said of itself. Not durable: it comes again with the next report.
struct RankLive {
  std::string process;  // spawning | running | silent | exited; empty: never reported
  std::string phase;
  std::string doing;  // how far inside the phase, in words; may be empty
  int64_t step = 0;
  int64_t beat = 0;
  absl::Duration beat_age;  // measured by its worker
  bool waiting_for_coordinator = false;
  int64_t collective_sequence = 0;
  double step_seconds_p99 = 0;
  std::string listen_address;
  int64_t pid = 0;
};

struct Attempt {
  AttemptNumber number = 0;
  std::vector<RankPlacement> ranks;
  absl::Time start_time = absl::InfinitePast();
  absl::Time end_time = absl::InfiniteFuture();  // InfiniteFuture: live
  int64_t resumed_from_step = -1;
  // Set while it still lives: it is ending, its ranks are told to stop and its slots stay taken
  // until each of them is known to be gone.
  std::string end_reason, end_message;
};

struct Checkpoint {
  JobId job;
  AttemptNumber attempt = 0;
  int64_t step = 0;
  std::string key;  // folder in the BlobStore
  std::string manifest_digest;
  int64_t size_bytes = 0;
  absl::Time time;
};

struct Job {
  JobId id;
  std::string project = "default";
  std::shared_ptr<const JobSpec> spec;         // resolved
  std::map<std::string, std::string> origins;  // field path -> where its value came from
  std::string creator;
  std::string request_id;
  JobState state = JobState::kPending;
  std::string reason;  // UPPER_SNAKE
  ReasonOwner reason_owner = ReasonOwner::kNone;
  std::string message;   // one sentence
  int64_t revision = 0;  // grows with every change
  absl::Time create_time, update_time;
  absl::Time start_time = absl::InfiniteFuture();
  absl::Time end_time = absl::InfiniteFuture();
  absl::Time state_deadline = absl::InfiniteFuture();
  bool cancel_now = false;  // cancel without a last checkpoint
  bool prepare_done = false;
  std::vector<PreparedFile> prepared;
  std::vector<Choice> choices;  // recorded with them
  std::vector<Attempt> attempts;
  std::vector<Checkpoint> checkpoints;  // recorded, oldest first
  int32_t attempts_without_progress = 0;
  absl::Time not_before = absl::InfinitePast();  // back-off before the next attempt
};

// Clients send it back to say which version of the job they mean.
std::string EtagOf(const Job& job);
// The last attempt while its end_time is unset (it may be ending); null without one.
const Attempt* OpenAttempt(const Job& job);
bool IsEnding(const Attempt& attempt);
const Checkpoint* NewestCheckpoint(const Job& job);  // recorded; null without one
// "checkpoints/JOB/step-00000400-a1"
std::string CheckpointKey(const JobId& job, int64_t step, AttemptNumber attempt);

}  // namespace trainyard::coordinator

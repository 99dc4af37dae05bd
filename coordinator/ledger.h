// Everything the coordinator knows, in one place: jobs with what their ranks last said, workers,
// the queue, and the indexes between them. Not thread-safe: the coordinator's one lock is around
// it.
//
// Invariants:
//   * A job changes only in Emit: the event is appended to the store and applied, or neither.
//   * A job is in the queue exactly when it waits for slots: QUEUED or RECOVERING without an
//   attempt,
//     or with one that is ending.
//   * A worker's `jobs` are those with an open attempt that has a rank there.
//   * Times called steady are UnixEpoch + Clock::Elapsed: they never jump. Deadlines are steady and
//     begin anew with the process.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "coordinator/coordinator.h"
#include "coordinator/judge.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/state/change.h"

namespace trainyard::coordinator {

struct JobEntry {
  std::shared_ptr<const Job> job;
  int64_t position = 0;                          // grows in the order of creation
  int64_t last_sequence = 0;                     // of its newest event
  absl::Time deadline = absl::InfiniteFuture();  // of its state; steady
  std::vector<RankState> ranks;                  // of the open attempt, else empty
  std::string secret;                            // likewise: its ranks prove it to each other
  // A verdict that waits for confirmation.
  std::string held_reason;
  absl::Time held_since = absl::InfiniteFuture();  // steady
  std::optional<Demand> demand;                    // while in the queue
  std::string wait_code;                           // last one written into the job
  int64_t metrics_step = -1;
  std::map<std::string, double> metrics;
};

struct WorkerEntry {
  Worker worker;
  absl::Time last_report = absl::InfinitePast();  // steady
  bool ever_reported = false;                     // since this start of the coordinator
  int64_t report_number = -1;
  std::deque<std::string> past_epochs;  // newest last, at most kPastEpochsMax
  std::set<JobId> jobs;
  bool has_strays = false;  // its last report had running ranks that it should not have
  std::string unusable;     // why no rank may start there, apart from silence and strays
  bool lost = false;        // its ranks were counted as lost
};

struct Notices {
  std::set<JobId> jobs;
  std::set<WorkerId> workers;
};

// Aborted, reason ETAG_MISMATCH, unless it is the job's or empty.
Status CheckEtag(const Job& job, std::string_view etag);

class Ledger {
 public:
  static StatusOr<std::unique_ptr<Ledger>> Load(const CoordinatorOptions& options,
                                                const Clock& clock, Store& store);

  absl::Time Steady() const { return absl::UnixEpoch() + clock_.Elapsed(); }
  absl::Time Wall() const { return clock_.Now(); }
  const CoordinatorOptions& options() const { return options_; }
  Store& store() const { return store_; }

  // ------------------------------------------------------------------------------------- jobs
  JobEntry* Find(const JobId& id);
  const JobEntry* Find(const JobId& id) const;
  // An id, a display name (the newest job of that name), or a unique prefix of an id.
  StatusOr<const JobEntry*> Resolve(std::string_view ref) const;
  StatusOr<JobEntry*> Resolve(std::string_view ref);
  // In the order of creation.
  const std::vector<JobEntry*>& jobs() const { return by_position_; }
  // Jobs that have an open attempt or a deadline.
  const std::set<JobId>& active() const { return active_; }
  // The first answer to this request of the last 24 h; null without one.
  JobEntry* FindRequest(const Actor& actor, std::string_view request_id);

  // Appends JobCreated and QUEUED; the id is made from the name and `id_suffix`.
  StatusOr<JobEntry*> Create(const Actor& actor, Job job, std::string_view id_suffix);
  // Appends the events and applies them, all or none. ResourceExhausted when the store is full.
  Status Emit(JobEntry& entry, const Actor& actor, const std::vector<Change>& changes);
  // Appends JobDeleted and forgets the job, which must have ended without an open attempt; `entry`
  // is gone then. Returns the event's sequence number.
  StatusOr<int64_t> Remove(JobEntry& entry, const Actor& actor);
  // An event about no job.
  Status EmitClusterEvent(const Actor& actor, const Change& change);

  // ---------------------------------------------------------------------------------- cluster
  WorkerEntry* FindWorker(const WorkerId& id);
  const WorkerEntry* FindWorker(const WorkerId& id) const;
  WorkerEntry& AddWorker(const WorkerId& id);
  void ForgetWorker(const WorkerId& id);
  std::map<WorkerId, WorkerEntry>& workers() { return workers_; }
  const std::map<WorkerId, WorkerEntry>& workers() const { return workers_; }
  const Queue& queue() const { return queue_; }
  Cluster UseOfSlots() const;
  bool IsReachable(const WorkerEntry& worker) const;
  // True when something changed that the scheduler decides on, or a back-off is over.
  bool ScheduleIsDue() const;
  void SetScheduled();
  void SetScheduleDue() { schedule_due_ = true; }
  // Just after a start the workers have yet to report: why jobs wait is not known.
  bool IsSettling() const { return Steady() < settled_at_; }

  // ------------------------------------------------------------------------------------- rest
  void NoteDesiredChanged(const WorkerId& worker) { notices_.workers.insert(worker); }
  Notices TakeNotices() { return std::exchange(notices_, {}); }
  std::deque<Garbage>& garbage() { return garbage_; }
  // The folder of a checkpoint that nobody needs any more.
  void NoteFolder(const JobId& job, std::string folder);
  CoordinatorCounters& counters() { return counters_; }
  const CoordinatorCounters& counters() const { return counters_; }

 private:
  Ledger(const CoordinatorOptions& options, const Clock& clock, Store& store)
      : options_(options), clock_(clock), store_(store) {}

  JobEntry& Insert(std::shared_ptr<const Job> job, int64_t last_sequence);
  Record RecordOf(const Actor& actor, const JobId& job, const Change& change,
                  absl::Time time) const;
  JobId FreeId(const std::string& name, std::string_view suffix) const;
  // Brings the indexes in line with entry.job; `before` is null for a new job.
  void Reindex(JobEntry& entry, const Job* before);
  void ReindexQueue(JobEntry& entry);
  void ReindexAttempt(JobEntry& entry, const Job* before);
  void NoteGarbage(const Job& before, const Job& after);
  void NoteDeleted(const JobId& job);
  void Forget(JobEntry& entry);
  void RememberRequest(const JobEntry& entry);

  const CoordinatorOptions options_;
  const Clock& clock_;
  Store& store_;
  std::string attempt_key_;

  absl::flat_hash_map<JobId, std::unique_ptr<JobEntry>> jobs_;
  std::set<JobId> ids_;  // in order, for prefixes
  std::vector<JobEntry*> by_position_;
  int64_t next_position_ = 0;
  absl::flat_hash_map<std::string, JobEntry*> newest_of_name_;
  absl::flat_hash_map<std::string, JobEntry*> by_request_;
  std::deque<std::pair<absl::Time, std::string>> request_ages_;  // steady
  std::set<JobId> active_;

  std::map<WorkerId, WorkerEntry> workers_;
  Queue queue_;
  bool schedule_due_ = true;
  absl::Time next_back_off_ = absl::InfiniteFuture();  // steady
  absl::Time settled_at_;                              // steady

  Notices notices_;
  std::deque<Garbage> garbage_;
  CoordinatorCounters counters_;
};

}  // namespace trainyard::coordinator

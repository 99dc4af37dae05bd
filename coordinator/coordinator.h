// The deep module of the daemon: jobs, attempts, workers, under one lock. Free of gRPC and threads:
// handlers, the ticker and the simulation call it from wherever they are.
//
// An event is applied under the lock and appended to the store's queue in the same moment; replies
// and desired state that depend on it may leave only once its sequence number is durable. So every
// call that changes something returns `durable_after`: pass it to Store::WhenDurable before
// answering. Reads return the newest sequence they may have seen, for the same reason.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>
#include <absl/synchronization/mutex.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "coordinator/state/cluster.h"
#include "coordinator/state/job.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

// Who asks, for the event log: "client:NAME", "worker:ID", "coordinator".
using Actor = std::string;

template <class T>
struct Answer {
  T value;
  int64_t durable_after = 0;  // sequence number that must be durable before this is shown
};

struct CoordinatorOptions {
  std::string epoch;  // random per start
  // "0.1": workers of this minor version and the one before may join. Empty: any.
  std::string version;
  // A worker takes ranks once it has read this object from the BlobStore and reported its digest.
  // Empty: nothing to prove.
  std::string blob_probe_key;
  std::string blob_probe_digest;
  // Attempts' secrets are derived from it; empty: the store's own (made with the database).
  std::string attempt_key;
  // A worker that has not reported for this long is unreachable; its ranks count as lost after
  // `rank_lost_after`. Shorter reacts sooner; costs false alarms on a busy machine.
  absl::Duration unreachable_after = absl::Seconds(6);
  absl::Duration rank_lost_after = absl::Seconds(20);
  // Hang deadline of a step: max(this, 6 x p99 of the rank's steps).
  absl::Duration step_deadline_min = absl::Seconds(15);
  int64_t jobs_max = 100'000;
  // Test builds only prove the fence is needed by taking it away.
  bool check_fence = true;
};

struct JobFilter {
  std::string project = "default";
  std::optional<JobState> state;
  std::string display_name;
  bool newest_first = true;
  int64_t limit = 50;
  std::string page_token;
};

struct JobView {
  std::shared_ptr<const Job> job;
  std::vector<RankLive> ranks;  // of the live attempt, in rank order; empty without one
  int64_t step = 0;             // steps done, as last heard
};

struct JobPage {
  std::vector<JobView> jobs;
  std::string next_page_token;
};

struct Explanation {
  std::string sentence;
  std::vector<std::string> evidence;
};

// A job and what its ranks last said.

// Files that no recorded checkpoint needs any more. Deleting is the daemon's business
// (FoldersToDelete says which); doing it twice or not at all does no harm.
struct Garbage {
  JobId job;
  std::string folder;  // this one; empty: all folders of the job's attempts up to `up_to_attempt`
  AttemptNumber up_to_attempt = 0;
  std::vector<std::string> keep;  // recorded checkpoints
  bool whole_job = false;         // the job was deleted: all of its files, its history too
};

// Of the folders in checkpoints/JOB (BlobStore::Folders), those that are garbage.
std::vector<std::string> FoldersToDelete(const Garbage& garbage,
                                         const std::vector<std::string>& folders);

// Since this start of the daemon.
struct CoordinatorCounters {
  int64_t stale_messages = 0;  // of older attempts, workers' older lives, or repeated ones
  int64_t attempts_started = 0;
  int64_t ranks_hung = 0;
  int64_t ranks_lost = 0;
  int64_t checkpoints_recorded = 0;
  std::map<std::pair<JobState, std::string>, int64_t> jobs_ended;  // by state and reason
};

struct CoordinatorStats {
  CoordinatorCounters counters;
  std::map<JobState, int64_t> jobs;  // by state; only those that occur
  int64_t workers_reachable = 0;
  int64_t slots = 0;        // of reachable workers
  double slots_in_use = 0;  // sum of shares
  int64_t queue_jobs = 0;   // waiting for slots
  double oldest_wait_seconds = 0;
};

class Ledger;
struct Notices;

class Coordinator {
 public:
  // Loads what the store holds. `clock` and `store` outlive the coordinator.
  static StatusOr<std::unique_ptr<Coordinator>> Open(const CoordinatorOptions& options,
                                                     const Clock& clock, Store& store);

  // `spec` is validated and resolved (common/job_spec). AlreadyExists never: the id gets a suffix
  // from `id_suffix`. A repeated request_id returns the first answer.
  // FailedPrecondition, reason JOB_DOES_NOT_FIT: coordinator/fits.h.
  StatusOr<Answer<std::shared_ptr<const Job>>> Create(const Actor& actor, JobSpec spec,
                                                      std::map<std::string, std::string> origins,
                                                      std::string_view request_id,
                                                      std::string_view id_suffix);
  // `ref`: an id, a unique prefix of one, or a display name (the newest job of that name).
  // NotFound, or InvalidArgument naming the candidates when a prefix is ambiguous.
  StatusOr<Answer<JobView>> Get(std::string_view ref) const;
  StatusOr<Answer<JobPage>> List(const JobFilter& filter) const;
  StatusOr<Answer<std::shared_ptr<const Job>>> Cancel(const Actor& actor, std::string_view ref,
                                                      bool now, std::string_view etag);
  // `sets`: fields that it goes on with (common/job_spec/retry.h). `removed`: keys of checkpoints
  // whose folders are gone; the newest ones among them are dropped, and it goes on from the one
  // before.
  StatusOr<Answer<std::shared_ptr<const Job>>> Retry(const Actor& actor, std::string_view ref,
                                                     std::string_view etag,
                                                     const std::vector<std::string>& sets = {},
                                                     const std::vector<std::string>& removed = {});
  // Forgets a job that has ended, with its events; its files become garbage. Returns the sequence
  // number that must be durable before this is told. FailedPrecondition: coordinator/deletion.h.
  StatusOr<int64_t> Delete(const Actor& actor, std::string_view ref, std::string_view etag);
  // Takes the recorded checkpoint `key` of a job away; its folder becomes garbage. Returns and
  // refuses as Delete does.
  StatusOr<int64_t> DeleteCheckpoint(const Actor& actor, const JobId& job, std::string_view key);
  StatusOr<Explanation> Explain(std::string_view ref) const;
  std::vector<Worker> Workers() const;
  // Share of each slot in use, by job.
  std::vector<std::pair<SlotId, double>> SlotsInUse() const;

  // Takes in what a worker has; answers with what it should have.
  StatusOr<Answer<DesiredState>> Report(const WorkerReport& report);
  // What the worker should have now, without a report (for pushes).
  StatusOr<Answer<DesiredState>> Desired(const WorkerId& worker) const;

  // Deadlines, lost workers, hung ranks, the schedule. Call every 200 ms and after changes; does
  // nothing when nothing is due.
  void Tick();

  // Newest step and metric values of a job, told by telemetry; not durable.
  void NoteMetrics(const JobId& job, AttemptNumber attempt, int64_t step,
                   const std::vector<std::pair<std::string, double>>& values);
  // What NoteMetrics knew before this process began, of a job that it has told nothing of yet.
  void RestoreMetrics(const JobId& job, int64_t step, std::map<std::string, double> values);
  std::map<std::string, double> LatestMetrics(const JobId& job) const;
  // False for a job that never was, or was deleted.
  bool Knows(const JobId& job) const;
  // True while this attempt may still speak: telemetry of older ones is stored but marked.
  bool IsLive(const JobId& job, AttemptNumber attempt) const;

  // Called, without the lock, after any change of a job (its id) or of a worker's desired state.
  // Must return quickly and not call back into the coordinator.
  struct Listeners {
    std::function<void(const JobId&)> job_changed;
    std::function<void(const WorkerId&)> desired_changed;
  };
  void SetListeners(Listeners listeners);

  // What may be deleted from the BlobStore, at most `limit` items, each handed out once. Wait for
  // `durable_after` before deleting.
  Answer<std::vector<Garbage>> TakeGarbage(int64_t limit);
  CoordinatorStats Stats() const;

  ~Coordinator();

 private:
  Coordinator(std::unique_ptr<Ledger> ledger, Store& store);
  void Announce(const Notices& notices);

  Store& store_;
  mutable absl::Mutex mu_;
  const std::unique_ptr<Ledger> ledger_ ABSL_PT_GUARDED_BY(mu_);
  std::shared_ptr<const Listeners> listeners_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::coordinator

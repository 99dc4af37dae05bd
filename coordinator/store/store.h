// The coordinator's durable memory: an append-only sequence of events is the truth; tables of jobs,
// attempts, checkpoints and tokens are derived from it in the same transaction, so that start-up
// reads a snapshot and not the whole history. SQLite, WAL, synchronous=FULL, group commit.
//
// Append returns at once with a sequence number; Commit writes everything queued in one
// transaction. A production daemon runs Commit on a thread of its own (StoreWriter); the simulation
// calls it when its virtual disk is due. After a failed commit the store refuses everything: a lost
// fsync cannot be taken back (the daemon exits and starts again from what is on disk).
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/state/job.h"

namespace trainyard::coordinator {

struct Event {
  int64_t sequence = 0;  // gapless from 1; given by Append
  absl::Time time;
  std::string actor;
  std::string
      type;   // "JobCreated", "JobStateChanged", "AttemptStarted", "CheckpointCommitted", ...
  JobId job;  // empty: about the cluster
  AttemptNumber attempt = 0;
  std::string message;       // one sentence for people
  std::string payload_json;  // details
};

// An event and the job as it stands after it (the derived row written in the same transaction).
struct Record {
  Event event;
  std::shared_ptr<const Job> job_after;  // null: no job changed
};

struct StoredToken {
  std::string id;      // "client-1"
  std::string sha256;  // of the token
  std::string kind;    // client | worker | scraper
  std::string role;    // viewer | submitter | operator | admin (client tokens)
  absl::Time created;
  bool revoked = false;
};

class Store {
 public:
  // 2: events of deleted jobs are gone, and counted in meta ("events_deleted"). A database of
  // version 1 becomes one of version 2 with the first job that is deleted.
  static constexpr int kSchemaVersion = 2;
  // Opens or creates `path` (":memory:" or a "file:" URI for tests). Runs quick_check: DataLoss
  // naming the file when it is damaged; FailedPrecondition when a newer build wrote it.
  static StatusOr<std::unique_ptr<Store>> Open(const std::filesystem::path& path);
  virtual ~Store() = default;

  // Everything derived, as of the last commit.
  virtual StatusOr<std::vector<std::shared_ptr<const Job>>> LoadJobs() = 0;
  // Jobs of which a JobDeleted stands among the newest 100,000 events: their files may be left.
  virtual StatusOr<std::vector<JobId>> DeletedJobs() = 0;
  virtual StatusOr<std::vector<StoredToken>> LoadTokens() = 0;
  virtual Status PutToken(const StoredToken& token) = 0;  // durable on return
  // 256 random bits in hex, made with the database: attempts' secrets are derived from it.
  virtual StatusOr<std::string> AttemptKey() = 0;

  // Queues records; returns the sequence of the last one. Thread-safe, never blocks on the disk.
  // ResourceExhausted when 100,000 are waiting.
  // A JobDeleted takes the job's row and its earlier events away as it is committed.
  virtual StatusOr<int64_t> Append(std::vector<Record> records) = 0;
  // Writes what is queued in one transaction; OK when there is nothing. ResourceExhausted: the disk
  // is full, try again; any other error is final.
  virtual Status Commit() = 0;
  virtual int64_t durable_sequence() const = 0;
  virtual int64_t appended_sequence() const = 0;
  // Calls `done` once `sequence` is durable (at once when it is), or with an error when it never
  // will be. Called from the committing thread.
  virtual void WhenDurable(int64_t sequence, std::function<void(Status)> done) = 0;
  // Blocks the writer thread until there is something to commit or the timeout passes.
  virtual bool WaitForWork(absl::Duration timeout) = 0;

  // Bytes of the database, its journal left out.
  virtual StatusOr<int64_t> SizeBytes() = 0;

  // Committed events, oldest first. `job` empty: all.
  virtual StatusOr<std::vector<Event>> Events(const JobId& job, int64_t after_sequence,
                                              int64_t limit) = 0;
  // The newest `limit` of a job's committed events, oldest first.
  virtual StatusOr<std::vector<Event>> RecentEvents(const JobId& job, int64_t limit) = 0;
};

}  // namespace trainyard::coordinator

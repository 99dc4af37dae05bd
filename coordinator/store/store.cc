#include "coordinator/store/store.h"

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>
#include <absl/synchronization/mutex.h>

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "common/require.h"
#include "common/thread.h"
#include "coordinator/state/job_json.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kQueuedMax = 100'000;
// Larger batches would only lengthen the lock on the connection.
constexpr size_t kBatchMax = 5'000;
// Jobs read at once at the start: some megabytes of text.
constexpr size_t kLoadBatch = 512;
// Newest events among which deleted jobs are sought at a start.
constexpr int64_t kDeletedSought = 100'000;

struct Statements {
  Statement insert_event, insert_job, update_job;
  Statement erase_job, erase_events, count_erased;
  Statement events, events_of_job, recent_events;
};

Event EventOf(const Statement& row) {
  Event event;
  event.sequence = row.Int(0);
  event.time = absl::FromUnixMicros(row.Int(1));
  event.actor = row.Text(2);
  event.type = row.Text(3);
  event.job = JobId{std::string(row.Text(4))};
  event.attempt = static_cast<AttemptNumber>(row.Int(5));
  event.message = row.Text(6);
  event.payload_json = row.Text(7);
  return event;
}

class SqliteStore final : public Store {
 public:
  SqliteStore(std::unique_ptr<Sqlite> db, Statements statements, int64_t last)
      : db_(std::move(db)), statements_(std::move(statements)), appended_(last), durable_(last) {}

  ~SqliteStore() override { FailWaiters(Unavailable("the store was closed before the commit")); }

  StatusOr<std::vector<std::shared_ptr<const Job>>> LoadJobs() override;
  StatusOr<std::vector<JobId>> DeletedJobs() override;
  StatusOr<std::vector<StoredToken>> LoadTokens() override;
  Status PutToken(const StoredToken& token) override;
  StatusOr<std::string> AttemptKey() override {
    absl::MutexLock lock(&db_mu_);
    return db_->QueryText("SELECT value FROM meta WHERE name = 'attempt_key'");
  }

  StatusOr<int64_t> Append(std::vector<Record> records) override;
  Status Commit() override;
  int64_t durable_sequence() const override {
    absl::MutexLock lock(&mu_);
    return durable_;
  }
  int64_t appended_sequence() const override {
    absl::MutexLock lock(&mu_);
    return appended_;
  }
  void WhenDurable(int64_t sequence, std::function<void(Status)> done) override;
  bool WaitForWork(absl::Duration timeout) override;
  StatusOr<int64_t> SizeBytes() override {
    absl::MutexLock lock(&db_mu_);
    return db_->QueryInt("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
  }

  StatusOr<std::vector<Event>> Events(const JobId& job, int64_t after_sequence,
                                      int64_t limit) override;
  StatusOr<std::vector<Event>> RecentEvents(const JobId& job, int64_t limit) override;

 private:
  Status Write(const std::vector<Record>& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(db_mu_);
  Status WriteRecords(const std::vector<Record>& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(db_mu_);
  Status WriteJob(const Record& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(db_mu_);
  Status EraseJob(const Event& deleted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(db_mu_);
  StatusOr<std::vector<Event>> Select(Statement& statement, int64_t limit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(db_mu_);
  void Succeeded(int64_t last);
  void FailWaiters(const Status& why);

  // The connection; held during a commit. Never taken while holding mu_.
  absl::Mutex db_mu_;
  std::unique_ptr<Sqlite> db_ ABSL_GUARDED_BY(db_mu_);
  Statements statements_ ABSL_GUARDED_BY(db_mu_);
  std::vector<Record> batch_ ABSL_GUARDED_BY(db_mu_);  // taken from the queue, not yet written

  // The queue; held for moments only.
  mutable absl::Mutex mu_;
  std::vector<Record> queue_ ABSL_GUARDED_BY(mu_);
  int64_t appended_ ABSL_GUARDED_BY(mu_);
  int64_t durable_ ABSL_GUARDED_BY(mu_);
  Status broken_ ABSL_GUARDED_BY(mu_);  // final: the store refuses everything
  Status full_ ABSL_GUARDED_BY(mu_);    // until a commit succeeds
  std::multimap<int64_t, std::function<void(Status)>> waiters_ ABSL_GUARDED_BY(mu_);
};

// A job as its two texts are stored.
struct JobRow {
  std::string id, birth, progress;
};

StatusOr<std::shared_ptr<const Job>> JobOf(const JobRow& row) {
  const Json birth = Json::parse(row.birth, nullptr, /*allow_exceptions=*/false);
  const Json progress = Json::parse(row.progress, nullptr, /*allow_exceptions=*/false);
  if (birth.is_discarded() || progress.is_discarded()) {
    return DataLoss("job {}: its row is not JSON", row.id);
  }
  StatusOr<Job> job = JobFromBirth(birth);
  if (!job.ok()) return Annotate(job.status(), "job " + row.id);
  if (Status read = ReadProgress(progress, *job); !read.ok()) {
    return Annotate(read, "job " + row.id);
  }
  return std::make_shared<const Job>(*std::move(job));
}

// Understands a batch on every core and adds it, in order: nearly all of a start's time goes here.
Status AddJobs(const std::vector<JobRow>& rows, std::vector<std::shared_ptr<const Job>>* jobs) {
  const size_t n_threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
  std::vector<StatusOr<std::shared_ptr<const Job>>> read(rows.size());
  {
    std::vector<Thread> threads;
    for (size_t t = 0; t < n_threads; ++t) {
      threads.emplace_back("load-jobs", [&, t] {
        for (size_t i = t; i < rows.size(); i += n_threads) read[i] = JobOf(rows[i]);
      });
    }
  }
  for (auto& job : read) {
    RETURN_IF_ERROR(job.status());
    jobs->push_back(*std::move(job));
  }
  return OkStatus();
}

StatusOr<std::vector<std::shared_ptr<const Job>>> SqliteStore::LoadJobs() {
  absl::MutexLock lock(&db_mu_);
  ASSIGN_OR_RETURN(Statement select,
                   db_->Prepare("SELECT j.id, e.payload, j.progress FROM jobs j JOIN events e ON "
                                "e.sequence = j.created_sequence ORDER BY j.created_sequence"));
  std::vector<std::shared_ptr<const Job>> jobs;
  std::vector<JobRow> rows;
  bool more = true;
  while (more) {
    ASSIGN_OR_RETURN(more, select.Step());
    if (more) {
      rows.push_back(
          {std::string(select.Text(0)), std::string(select.Text(1)), std::string(select.Text(2))});
    }
    if (more && rows.size() < kLoadBatch) continue;
    RETURN_IF_ERROR(AddJobs(rows, &jobs));
    rows.clear();
  }
  return jobs;
}

StatusOr<std::vector<JobId>> SqliteStore::DeletedJobs() {
  absl::MutexLock lock(&db_mu_);
  ASSIGN_OR_RETURN(Statement select,
                   db_->Prepare(fmt::format(
                       "SELECT job FROM events WHERE type = 'JobDeleted' AND sequence > "
                       "(SELECT coalesce(max(sequence), 0) FROM events) - {} ORDER BY sequence",
                       kDeletedSought)));
  std::vector<JobId> jobs;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return jobs;
    jobs.push_back(JobId{std::string(select.Text(0))});
  }
}

StatusOr<std::vector<StoredToken>> SqliteStore::LoadTokens() {
  absl::MutexLock lock(&db_mu_);
  ASSIGN_OR_RETURN(Statement select,
                   db_->Prepare("SELECT id, sha256, kind, role, created_us, revoked FROM tokens"));
  std::vector<StoredToken> tokens;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return tokens;
    tokens.push_back({std::string(select.Text(0)), std::string(select.Text(1)),
                      std::string(select.Text(2)), std::string(select.Text(3)),
                      absl::FromUnixMicros(select.Int(4)), select.Int(5) != 0});
  }
}

Status SqliteStore::PutToken(const StoredToken& token) {
  absl::MutexLock lock(&db_mu_);
  ASSIGN_OR_RETURN(Statement put,
                   db_->Prepare("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO "
                                "UPDATE SET sha256 = excluded.sha256, kind = excluded.kind, "
                                "role = excluded.role, revoked = excluded.revoked"));
  return put.Bind(1, token.id)
      .Bind(2, token.sha256)
      .Bind(3, token.kind)
      .Bind(4, token.role)
      .Bind(5, absl::ToUnixMicros(token.created))
      .Bind(6, int64_t{token.revoked})
      .Run();
}

StatusOr<int64_t> SqliteStore::Append(std::vector<Record> records) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(broken_);
  RETURN_IF_ERROR(full_);
  if (queue_.size() + records.size() > kQueuedMax) {
    return ResourceExhausted("{} events wait for the disk; try again", queue_.size());
  }
  for (Record& record : records) {
    record.event.sequence = ++appended_;
    queue_.push_back(std::move(record));
  }
  return appended_;
}

Status SqliteStore::Commit() {
  absl::MutexLock lock(&db_mu_);
  {
    absl::MutexLock queue_lock(&mu_);
    RETURN_IF_ERROR(broken_);
    if (batch_.empty()) {
      const size_t n = std::min(queue_.size(), kBatchMax);
      batch_.assign(std::make_move_iterator(queue_.begin()),
                    std::make_move_iterator(queue_.begin() + n));
      queue_.erase(queue_.begin(), queue_.begin() + n);
    }
  }
  if (batch_.empty()) return OkStatus();
  const Status written = Write(batch_);
  if (written.ok()) {
    const int64_t last = batch_.back().event.sequence;
    batch_.clear();
    Succeeded(last);
    return OkStatus();
  }
  const bool may_retry = written.code() == StatusCode::kResourceExhausted;
  const Status why =
      may_retry ? ResourceExhausted(
                      "the disk of the coordinator's database is full: free some "
                      "space and try again ({})",
                      MessageOf(written))
                : Internal("the coordinator's database could not be written and is closed: {}",
                           MessageOf(written));
  {
    absl::MutexLock queue_lock(&mu_);
    (may_retry ? full_ : broken_) = why;
  }
  FailWaiters(why);
  return why;
}

Status SqliteStore::Write(const std::vector<Record>& batch) {
  Status written = db_->Execute("BEGIN IMMEDIATE");
  if (written.ok()) written = WriteRecords(batch);
  if (written.ok()) written = db_->Execute("COMMIT");
  if (written.ok() || db_->autocommit()) return written;
  const Status undone = db_->Execute("ROLLBACK");
  if (undone.ok() && db_->autocommit()) return written;
  return Internal("{}; and it could not be rolled back: {}", MessageOf(written), MessageOf(undone));
}

Status SqliteStore::WriteRecords(const std::vector<Record>& batch) {
  // A job may change often within a batch: its row is written once, as of the last change.
  absl::flat_hash_map<JobId, size_t> last_change;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (batch[i].job_after != nullptr) last_change[batch[i].job_after->id] = i;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    const Event& event = batch[i].event;
    RETURN_IF_ERROR(statements_.insert_event.Bind(1, event.sequence)
                        .Bind(2, absl::ToUnixMicros(event.time))
                        .Bind(3, event.actor)
                        .Bind(4, event.type)
                        .Bind(5, event.job.value)
                        .Bind(6, int64_t{event.attempt})
                        .Bind(7, event.message)
                        .Bind(8, event.payload_json)
                        .Run());
    if (event.type == "JobDeleted") RETURN_IF_ERROR(EraseJob(event));
    const bool is_birth = event.type == "JobCreated";
    if (batch[i].job_after == nullptr) continue;
    if (is_birth || last_change.at(batch[i].job_after->id) == i) {
      RETURN_IF_ERROR(WriteJob(batch[i]));
    }
  }
  return OkStatus();
}

Status SqliteStore::WriteJob(const Record& record) {
  const Job& job = *record.job_after;
  const std::string progress =
      ProgressToJson(job).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (record.event.type == "JobCreated") {
    return statements_.insert_job.Bind(1, record.event.sequence)
        .Bind(2, job.id.value)
        .Bind(3, job.spec->name)
        .Bind(4, JobStateName(job.state))
        .Bind(5, absl::ToUnixMicros(job.create_time))
        .Bind(6, progress)
        .Run();
  }
  RETURN_IF_ERROR(statements_.update_job.Bind(1, JobStateName(job.state))
                      .Bind(2, progress)
                      .Bind(3, job.id.value)
                      .Run());
  REQUIRE(db_->changes() == 1);
  return OkStatus();
}

Status SqliteStore::EraseJob(const Event& deleted) {
  RETURN_IF_ERROR(statements_.erase_job.Bind(1, deleted.job.value).Run());
  RETURN_IF_ERROR(
      statements_.erase_events.Bind(1, deleted.job.value).Bind(2, deleted.sequence).Run());
  RETURN_IF_ERROR(statements_.count_erased.Bind(1, db_->changes()).Run());
  return db_->Execute(fmt::format("PRAGMA user_version = {}", kSchemaVersion));
}

void SqliteStore::Succeeded(int64_t last) {
  std::vector<std::function<void(Status)>> due;
  {
    absl::MutexLock lock(&mu_);
    durable_ = last;
    full_ = OkStatus();
    const auto end = waiters_.upper_bound(last);
    for (auto it = waiters_.begin(); it != end; ++it) due.push_back(std::move(it->second));
    waiters_.erase(waiters_.begin(), end);
  }
  for (auto& done : due) done(OkStatus());
}

void SqliteStore::FailWaiters(const Status& why) {
  std::multimap<int64_t, std::function<void(Status)>> failed;
  {
    absl::MutexLock lock(&mu_);
    failed.swap(waiters_);
  }
  for (auto& [sequence, done] : failed) done(why);
}

void SqliteStore::WhenDurable(int64_t sequence, std::function<void(Status)> done) {
  Status now;
  {
    absl::MutexLock lock(&mu_);
    if (sequence > durable_) {
      now = !broken_.ok() ? broken_ : full_;
      if (now.ok()) {
        waiters_.emplace(sequence, std::move(done));
        return;
      }
    }
  }
  done(now);
}

bool SqliteStore::WaitForWork(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return durable_ < appended_ && full_.ok() && broken_.ok();
  };
  mu_.AwaitWithTimeout(absl::Condition(&has_work), timeout);
  return durable_ < appended_;
}

StatusOr<std::vector<Event>> SqliteStore::Select(Statement& statement, int64_t limit) {
  std::vector<Event> events;
  while (static_cast<int64_t>(events.size()) < limit) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return events;
    events.push_back(EventOf(statement));
  }
  statement.Reset();
  return events;
}

StatusOr<std::vector<Event>> SqliteStore::Events(const JobId& job, int64_t after_sequence,
                                                 int64_t limit) {
  absl::MutexLock lock(&db_mu_);
  Statement& select = job.empty() ? statements_.events : statements_.events_of_job;
  select.Bind(1, after_sequence).Bind(2, limit);
  if (!job.empty()) select.Bind(3, job.value);
  return Select(select, limit);
}

StatusOr<std::vector<Event>> SqliteStore::RecentEvents(const JobId& job, int64_t limit) {
  absl::MutexLock lock(&db_mu_);
  statements_.recent_events.Bind(1, job.value).Bind(2, limit);
  ASSIGN_OR_RETURN(std::vector<Event> events, Select(statements_.recent_events, limit));
  std::reverse(events.begin(), events.end());
  return events;
}

StatusOr<Statements> PrepareStatements(Sqlite& db) {
  const auto select = [&db](std::string_view where_and_order) {
    return db.Prepare(fmt::format(
        "SELECT sequence, time_us, actor, type, job, attempt, message, payload FROM events {}",
        where_and_order));
  };
  Statements all;
  ASSIGN_OR_RETURN(all.insert_event,
                   db.Prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(all.insert_job, db.Prepare("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(all.update_job,
                   db.Prepare("UPDATE jobs SET state = ?, progress = ? WHERE id = ?"));
  ASSIGN_OR_RETURN(all.erase_job, db.Prepare("DELETE FROM jobs WHERE id = ?"));
  ASSIGN_OR_RETURN(all.erase_events,
                   db.Prepare("DELETE FROM events WHERE job = ? AND sequence < ?"));
  ASSIGN_OR_RETURN(
      all.count_erased,
      db.Prepare("INSERT INTO meta VALUES ('events_deleted', CAST(?1 AS TEXT)) ON CONFLICT (name) "
                 "DO UPDATE SET value = CAST(CAST(value AS INTEGER) + ?1 AS TEXT)"));
  ASSIGN_OR_RETURN(all.events, select("WHERE sequence > ?1 ORDER BY sequence LIMIT ?2"));
  ASSIGN_OR_RETURN(all.events_of_job,
                   select("WHERE sequence > ?1 AND job = ?3 ORDER BY sequence LIMIT ?2"));
  ASSIGN_OR_RETURN(all.recent_events, select("WHERE job = ?1 ORDER BY sequence DESC LIMIT ?2"));
  return all;
}

}  // namespace

StatusOr<std::unique_ptr<Store>> Store::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<Sqlite> db, OpenDatabase(path));
  ASSIGN_OR_RETURN(Statements statements, PrepareStatements(*db));
  ASSIGN_OR_RETURN(const int64_t last,
                   db->QueryInt("SELECT coalesce(max(sequence), 0) FROM events"));
  ASSIGN_OR_RETURN(const int64_t n, db->QueryInt("SELECT count(*) FROM events"));
  ASSIGN_OR_RETURN(const int64_t deleted,
                   db->QueryInt("SELECT coalesce(sum(CAST(value AS INTEGER)), 0) FROM meta WHERE "
                                "name = 'events_deleted'"));
  if (n + deleted != last) {
    return DataLoss("{}: {} events are there and {} were deleted with their jobs, {} were written",
                    path.string(), n, deleted, last);
  }
  return std::make_unique<SqliteStore>(std::move(db), std::move(statements), last);
}

}  // namespace trainyard::coordinator

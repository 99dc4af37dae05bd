#include "coordinator/store/store.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/files.h"
#include "coordinator/state/change.h"
#include "coordinator/store/writer.h"
#include "tests/coordinator/store/faulty_disk.h"
#include "tests/support/status_matchers.h"

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr absl::Time kNoon = absl::FromUnixSeconds(1'700'000'000);

Job NewJob(const std::string& id) {
  JobSpec spec;
  spec.name = "llm";
  spec.kind = "pretrain";
  spec.train.max_steps = 400;
  Job job;
  job.id = JobId{id};
  job.spec = std::make_shared<const JobSpec>(spec);
  job.creator = "client:ada";
  job.create_time = kNoon;
  job.revision = 1;
  return job;
}

Record RecordOf(const Job& job, const Change& change) {
  Record record;
  record.event.time = kNoon;
  record.event.actor = "client:ada";
  record.event.type = change.type;
  record.event.job = job.id;
  record.event.message = change.message;
  record.event.payload_json = change.payload.dump();
  record.job_after = std::make_shared<const Job>(job);
  return record;
}

Record Created(const std::string& id) { return RecordOf(NewJob(id), JobCreated(NewJob(id))); }

Record Queued(const std::string& id) {
  const Change change = JobStateChanged(JobState::kPending, JobState::kQueued, {"NEW", {}, "new"});
  return RecordOf(*Apply(NewJob(id), change, kNoon), change);
}

int64_t Add(Store& store, const std::string& id) {
  return *store.Append({Created(id), Queued(id)});
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/store_test_XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    path_ = folder_ / "trainyard.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Store> Open() {
    StatusOr<std::unique_ptr<Store>> store = Store::Open(path_);
    EXPECT_OK(store);
    return *std::move(store);
  }
  void Sql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  std::filesystem::path folder_, path_;
};

TEST_F(StoreTest, WhatIsCommittedIsThereAgain) {
  {
    auto store = Open();
    EXPECT_EQ(Add(*store, "a-1"), 2);
    EXPECT_EQ(store->durable_sequence(), 0);
    ASSERT_OK(store->Commit());
    EXPECT_EQ(store->durable_sequence(), 2);
  }
  auto store = Open();
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  ASSERT_THAT(jobs, SizeIs(1));
  EXPECT_EQ(jobs[0]->id.value, "a-1");
  EXPECT_EQ(jobs[0]->state, JobState::kQueued);
  EXPECT_EQ(store->appended_sequence(), 2);
  EXPECT_EQ(Add(*store, "b-1"), 4);
}

TEST_F(StoreTest, WhatWasNotCommittedIsGoneWithItsJob) {
  {
    auto store = Open();
    Add(*store, "a-1");
    ASSERT_OK(store->Commit());
    Add(*store, "b-1");
  }
  auto store = Open();
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  EXPECT_THAT(jobs, SizeIs(1));
  EXPECT_EQ(store->appended_sequence(), 2);
}

// More than one batch of LoadJobs, each read on several threads.
TEST_F(StoreTest, ThousandsOfJobsComeBackInTheOrderTheyWereCreated) {
  auto store = Open();
  std::vector<std::string> ids;
  for (int i = 0; i < 1'300; ++i) ids.push_back(fmt::format("job-{}", (i * 7919) % 1'301));
  for (const std::string& id : ids) Add(*store, id);
  ASSERT_OK(store->Commit());
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  ASSERT_EQ(jobs.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(jobs[i]->id.value, ids[i]);
}

TEST_F(StoreTest, JobsComeBackInTheOrderTheyWereCreated) {
  auto store = Open();
  for (const char* id : {"c-1", "a-1", "b-1"}) Add(*store, id);
  ASSERT_OK(store->Commit());
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  std::vector<std::string> ids;
  for (const auto& job : jobs) ids.push_back(job->id.value);
  EXPECT_THAT(ids, ElementsAre("c-1", "a-1", "b-1"));
}

TEST_F(StoreTest, TellsThoseWhoWaitOnceTheirSequenceIsDurable) {
  auto store = Open();
  Add(*store, "a-1");
  std::vector<std::string> told;
  store->WhenDurable(2, [&](Status s) { told.push_back("two " + s.ToString()); });
  store->WhenDurable(0, [&](Status s) { told.push_back("zero " + s.ToString()); });
  EXPECT_THAT(told, ElementsAre("zero OK"));
  ASSERT_OK(store->Commit());
  EXPECT_THAT(told, ElementsAre("zero OK", "two OK"));
}

TEST_F(StoreTest, WhoeverWaitsWhenTheStoreClosesHearsThatItNeverHappened) {
  auto store = Open();
  Add(*store, "a-1");
  Status told;
  store->WhenDurable(2, [&](Status s) { told = s; });
  store.reset();
  EXPECT_THAT(told, StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
}

TEST_F(StoreTest, EventsAreReadInOrderFromAnyPoint) {
  auto store = Open();
  Add(*store, "a-1");
  Add(*store, "b-1");
  ASSERT_OK(store->Commit());
  ASSERT_OK_AND_ASSIGN(const auto all, store->Events({}, 1, 10));
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].sequence, 2);
  EXPECT_EQ(all[0].type, "JobStateChanged");
  EXPECT_EQ(all[0].actor, "client:ada");
  ASSERT_OK_AND_ASSIGN(const auto of_b, store->Events(JobId{"b-1"}, 0, 10));
  EXPECT_THAT(of_b, SizeIs(2));
  ASSERT_OK_AND_ASSIGN(const auto recent, store->RecentEvents(JobId{"b-1"}, 1));
  ASSERT_THAT(recent, SizeIs(1));
  EXPECT_EQ(recent[0].sequence, 4);
}

TEST_F(StoreTest, AJobThatChangesOftenInOneBatchIsWrittenAsItIsLast) {
  auto store = Open();
  Job job = NewJob("a-1");
  std::vector<Record> records = {RecordOf(job, JobCreated(job))};
  for (JobState to : {JobState::kQueued, JobState::kCancelled}) {
    const Change change = JobStateChanged(job.state, to, {"R", {}, "m"});
    job = *Apply(job, change, kNoon);
    records.push_back(RecordOf(job, change));
  }
  ASSERT_OK(store->Append(records));
  ASSERT_OK(store->Commit());
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  EXPECT_EQ(jobs[0]->state, JobState::kCancelled);
}

TEST_F(StoreTest, TokensAndTheAttemptKeyAreKept) {
  std::string key;
  {
    auto store = Open();
    ASSERT_OK(store->PutToken({"client-1", "aa", "client", "admin", kNoon, false}));
    ASSERT_OK(store->PutToken({"client-1", "aa", "client", "admin", kNoon, true}));
    ASSERT_OK_AND_ASSIGN(key, store->AttemptKey());
  }
  auto store = Open();
  ASSERT_OK_AND_ASSIGN(const auto tokens, store->LoadTokens());
  ASSERT_THAT(tokens, SizeIs(1));
  EXPECT_TRUE(tokens[0].revoked);
  EXPECT_EQ(*store->AttemptKey(), key);
  EXPECT_EQ(key.size(), 64u);
}

TEST_F(StoreTest, AcknowledgedEventsSurviveKill9) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    // Acknowledges job after job until it is killed.
    auto store = Open();
    for (int i = 0;; ++i) {
      Add(*store, "job-" + std::to_string(i));
      if (i % 3 == 0 && !store->Commit().ok()) _exit(1);
      const int64_t durable = store->durable_sequence();
      if (write(pipe_fds[1], &durable, sizeof(durable)) != sizeof(durable)) _exit(1);
    }
  }
  close(pipe_fds[1]);
  int64_t acknowledged = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(read(pipe_fds[0], &acknowledged, sizeof(acknowledged)), 8);
  }
  kill(child, SIGKILL);
  while (read(pipe_fds[0], &acknowledged, sizeof(acknowledged)) == 8) {
  }
  close(pipe_fds[0]);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  auto store = Open();
  EXPECT_GE(store->durable_sequence(), acknowledged);
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  EXPECT_EQ(static_cast<int64_t>(jobs.size()) * 2, store->durable_sequence());
}

TEST_F(StoreTest, ASecondCoordinatorOnTheSameFileIsRefused) {
  auto store = Open();
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("another")));
}

TEST_F(StoreTest, ADamagedFileIsRefusedByName) {
  {
    auto store = Open();
    for (int i = 0; i < 200; ++i) Add(*store, "job-" + std::to_string(i));
    ASSERT_OK(store->Commit());
  }
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  // The second page holds a table's root.
  file.seekp(3 * 4096);
  file << std::string(4096, '\xff');
  file.close();
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kDataLoss, HasSubstr(path_.string())));
}

TEST_F(StoreTest, AFileThatIsNoDatabaseIsRefused) {
  ASSERT_OK(WriteFileAtomically(path_, std::string(8192, 'x')));
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kDataLoss, HasSubstr(path_.string())));
}

TEST_F(StoreTest, SomebodyElsesDatabaseIsRefused) {
  Sql("CREATE TABLE recipes (name TEXT)");
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kDataLoss, HasSubstr("not Trainyard's")));
}

TEST_F(StoreTest, ANewerSchemaIsRefused) {
  Open();
  Sql("PRAGMA user_version = 99");
  EXPECT_THAT(Store::Open(path_),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("newer Trainyard")));
}

TEST_F(StoreTest, AMissingEventIsNoticed) {
  {
    auto store = Open();
    Add(*store, "a-1");
    Add(*store, "b-1");
    ASSERT_OK(store->Commit());
  }
  Sql("DELETE FROM events WHERE sequence = 2");
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kDataLoss, HasSubstr("3 events")));
}

Record Deleted(const std::string& id) {
  Record record = RecordOf(NewJob(id), JobDeleted(NewJob(id)));
  record.job_after = nullptr;
  return record;
}

TEST_F(StoreTest, ADeletedJobLeavesNothingButThatEvent) {
  Open();
  Sql("PRAGMA user_version = 1");  // as an older one made it
  {
    auto store = Open();
    Add(*store, "a-1");
    Add(*store, "b-1");
    ASSERT_OK(store->Commit());
    // In one batch with what came just before.
    ASSERT_OK(store->Append({Created("c-1"), Deleted("c-1"), Deleted("a-1")}));
    ASSERT_OK(store->Commit());
  }
  auto store = Open();
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  ASSERT_THAT(jobs, SizeIs(1));
  EXPECT_EQ(jobs[0]->id.value, "b-1");
  ASSERT_OK_AND_ASSIGN(const auto events, store->Events(JobId{"a-1"}, 0, 10));
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].type, "JobDeleted");
  EXPECT_EQ(events[0].sequence, 7);
  EXPECT_THAT(*store->DeletedJobs(), ElementsAre(JobId{"c-1"}, JobId{"a-1"}));
  EXPECT_EQ(Add(*store, "a-1"), 9);
  EXPECT_GT(*store->SizeBytes(), 0);
}

TEST_F(StoreTest, AMissingEventIsNoticedAmongDeletedOnes) {
  {
    auto store = Open();
    Add(*store, "a-1");
    Add(*store, "b-1");
    ASSERT_OK(store->Append({Deleted("a-1")}));
    ASSERT_OK(store->Commit());
  }
  Sql("DELETE FROM events WHERE sequence = 4");
  EXPECT_THAT(Store::Open(path_), StatusIs(StatusCode::kDataLoss, HasSubstr("2 were deleted")));
}

TEST_F(StoreTest, AFullDiskRefusesNewEventsAndHealsWhenThereIsRoom) {
  FaultyDisk disk;
  auto store = Open();
  Add(*store, "a-1");
  ASSERT_OK(store->Commit());
  disk.full = true;
  Status told;
  store->WhenDurable(Add(*store, "b-1"), [&](Status s) { told = s; });
  EXPECT_THAT(store->Commit(), StatusIs(StatusCode::kResourceExhausted, HasSubstr("full")));
  EXPECT_THAT(told, StatusIs(StatusCode::kResourceExhausted, HasSubstr("full")));
  EXPECT_THAT(store->Append({Created("late-1")}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("full")));
  EXPECT_THAT(*store->LoadJobs(), SizeIs(1));
  disk.full = false;
  ASSERT_OK(store->Commit());
  EXPECT_EQ(store->durable_sequence(), 4);
  EXPECT_THAT(*store->LoadJobs(), SizeIs(2));
  EXPECT_EQ(Add(*store, "c-1"), 6);
  store.reset();
}

TEST_F(StoreTest, AFailedFsyncIsFinal) {
  FaultyDisk disk;
  auto store = Open();
  Add(*store, "a-1");
  ASSERT_OK(store->Commit());
  disk.fsync_fails = true;
  Status told;
  store->WhenDurable(Add(*store, "b-1"), [&](Status s) { told = s; });
  EXPECT_THAT(store->Commit(), StatusIs(StatusCode::kInternal, HasSubstr("is closed")));
  EXPECT_THAT(told, StatusIs(StatusCode::kInternal, HasSubstr("is closed")));
  disk.fsync_fails = false;
  EXPECT_FALSE(store->Commit().ok());
  EXPECT_FALSE(store->Append({Created("late-1")}).ok());
  EXPECT_EQ(store->durable_sequence(), 2);
  store.reset();
}

TEST_F(StoreTest, TheWriterReportsAFailedFsyncOnceAndStops) {
  FaultyDisk disk;
  auto store = Open();
  disk.fsync_fails = true;
  absl::Mutex mu;
  int fatal = 0;
  {
    StoreWriter writer(*store, [&](const Status& s) {
      EXPECT_EQ(s.code(), StatusCode::kInternal);
      absl::MutexLock lock(&mu);
      ++fatal;
    });
    Add(*store, "a-1");
    absl::MutexLock lock(&mu);
    const auto told = [&] { return fatal > 0; };
    EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&told), absl::Seconds(10)));
  }
  EXPECT_EQ(fatal, 1);
  store.reset();
}

TEST_F(StoreTest, TheQueueIsBounded) {
  auto store = Open();
  std::vector<Record> many(100'000);
  ASSERT_OK(store->Append(many));
  EXPECT_THAT(store->Append({Created("a-1")}),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("100000 events wait")));
}

TEST_F(StoreTest, TheWriterCommitsByItselfAndBeforeItEnds) {
  auto store = Open();
  {
    StoreWriter writer(*store, [](const Status& s) { ADD_FAILURE() << s; });
    absl::Mutex mu;
    bool durable = false;
    const int64_t sequence = Add(*store, "a-1");
    store->WhenDurable(sequence, [&](Status s) {
      EXPECT_OK(s);
      absl::MutexLock lock(&mu);
      durable = true;
    });
    absl::MutexLock lock(&mu);
    EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&durable), absl::Seconds(10)));
    Add(*store, "b-1");
  }
  EXPECT_EQ(store->durable_sequence(), 4);
}

TEST(StoreInMemory, IsAStoreLikeAnyOther) {
  ASSERT_OK_AND_ASSIGN(const auto store, Store::Open(":memory:"));
  Add(*store, "a-1");
  ASSERT_OK(store->Commit());
  ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
  EXPECT_THAT(jobs, SizeIs(1));
}

}  // namespace
}  // namespace trainyard::coordinator

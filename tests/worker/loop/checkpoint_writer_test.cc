// Checkpoints that are written beside the steps: a whole job by hand in this process, on a store
// that holds or refuses the checkpoint of a step for as long as the test wants.
#include "worker/loop/checkpoint_writer.h"

#include <absl/synchronization/notification.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <new>

#include "common/files.h"
#include "common/job_spec/local_data.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/loop/tiny_job.h"
#include "worker/loop/alone_rank.h"
#include "worker/loop/kinds.h"
#include "worker/loop/outcome.h"
#include "worker/loop/recorded_checkpoints.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using link::OutcomeKind;
using link::Phase;
using link::StopMode;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr absl::Duration kPatience = absl::Seconds(120);

// A folder whose checkpoint folders are found only when the test lets them.
class SlowStore final : public BlobStore {
 public:
  explicit SlowStore(const fs::path& root) : folder_(DirectoryBlobStore::Open(root).value()) {}

  // Called, in the writer's thread, with the key of each checkpoint that is about to be written.
  std::function<Status(const std::string& key)> before_checkpoint;

  StatusOr<std::optional<fs::path>> LocalPath(const std::string& key) override {
    if (key.starts_with("checkpoints/") && before_checkpoint) {
      RETURN_IF_ERROR(before_checkpoint(key));
    }
    return folder_->LocalPath(key);
  }
  Status Put(const std::string& key, std::string_view bytes) override {
    return folder_->Put(key, bytes);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return folder_->Link(from, to);
  }
  StatusOr<int64_t> UploadedBytes(const std::string& key) override {
    return folder_->UploadedBytes(key);
  }
  Status AppendUpload(const std::string& key, int64_t offset, std::string_view bytes) override {
    return folder_->AppendUpload(key, offset, bytes);
  }
  Status FinishUpload(const std::string& key, const std::string& sha256, int64_t size) override {
    return folder_->FinishUpload(key, sha256, size);
  }
  StatusOr<int64_t> SweepUploads(absl::Time older_than) override {
    return folder_->SweepUploads(older_than);
  }
  StatusOr<bool> Exists(const std::string& key) override { return folder_->Exists(key); }
  StatusOr<int64_t> Size(const std::string& key) override { return folder_->Size(key); }
  StatusOr<std::string> Read(const std::string& key, int64_t offset, int64_t length) override {
    return folder_->Read(key, offset, length);
  }
  StatusOr<std::string> ReadAll(const std::string& key, int64_t max_bytes) override {
    return folder_->ReadAll(key, max_bytes);
  }
  StatusOr<std::vector<BlobEntry>> List(const std::string& folder) override {
    return folder_->List(folder);
  }
  StatusOr<std::vector<std::string>> Folders(const std::string& folder) override {
    return folder_->Folders(folder);
  }
  Status Delete(const std::string& key) override { return folder_->Delete(key); }
  Status DeletePrefix(const std::string& folder) override { return folder_->DeletePrefix(folder); }

 private:
  const std::unique_ptr<DirectoryBlobStore> folder_;
};

// What the loop has said so far.
struct Heard {
  Phase phase = Phase::kLoading;
  int64_t step = 0;
  int beats_while_saving = 0;
  std::vector<std::string> events;
  std::vector<int64_t> failed_steps;
  std::map<std::string, Curve> metrics;
};

// A rank by hand that is listened to.
class HeardRank final : public RankLink {
 public:
  explicit HeardRank(AloneOptions options) : alone_(std::move(options)) {}

  std::function<void(int64_t step)> on_beat;  // in the loop's thread
  // The coordinator is slow: it is heard to have recorded anything only after so many pauses.
  std::atomic<int> pauses_until_recorded = 0;

  void RequestStop(StopMode stop) { alone_.RequestStop(stop); }
  Heard heard() const {
    absl::MutexLock lock(&mu_);
    return heard_;
  }
  bool Await(const std::function<bool(const Heard&)>& wanted) const {
    const auto done = [&] { return wanted(heard_); };
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&done), kPatience);
  }

  link::Directive directive() const override {
    link::Directive directive = alone_.directive();
    if (pauses_until_recorded.load() > 0) directive.recorded_step = -1;
    return directive;
  }
  StopMode stop() const override { return alone_.stop(); }
  StatusOr<link::Directive> WaitUntil(
      std::string_view what, const std::function<bool(const link::Directive&)>& ready) override {
    return alone_.WaitUntil(what, ready);
  }
  bool Pause(absl::Duration pause) override {
    if (pauses_until_recorded.load() > 0) --pauses_until_recorded;
    return alone_.Pause(pause);
  }
  bool agent_gone() const override { return false; }
  void SetPhase(Phase phase) override {
    Hear([&](Heard& heard) { heard.phase = phase; });
  }
  void Doing(const std::string&) override {}
  void Beat(int64_t step, int64_t) override {
    Hear([&](Heard& heard) {
      heard.step = step;
      if (heard.phase == Phase::kSaving) ++heard.beats_while_saving;
    });
    if (on_beat) on_beat(step);
  }
  void StepTook(absl::Duration) override {}
  void ReportListenAddress(const std::string& address) override {
    alone_.ReportListenAddress(address);
  }
  void ReportPrepared(const std::vector<link::PreparedFile>& files,
                      const std::vector<Choice>& choices) override {
    alone_.ReportPrepared(files, choices);
  }
  void ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) override {
    alone_.ReportCheckpoint(checkpoint);
  }
  void ReportCheckpointFailure(const link::CheckpointFailure& failure) override {
    Hear([&](Heard& heard) { heard.failed_steps.push_back(failure.step); });
  }
  void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) override {
    Hear([&](Heard& heard) {
      for (const auto& [name, value] : values) heard.metrics[name][step] = value;
    });
  }
  void Event(std::string_view type, const std::string&) override {
    Hear([&](Heard& heard) { heard.events.emplace_back(type); });
  }

 private:
  void Hear(const std::function<void(Heard&)>& change) {
    absl::MutexLock lock(&mu_);
    change(heard_);
  }
  AloneRank alone_;
  mutable absl::Mutex mu_;
  Heard heard_ ABSL_GUARDED_BY(mu_);
};

// One attempt of the tiny job: 12 steps, a checkpoint due every 4. Time stands still.
class Attempt {
 public:
  Attempt(const TinyJob& job, const fs::path& out)
      : store(out),
        rank({.attempt = 1,
              .resume = {},
              .metrics_file = {},
              .record =
                  [this](const link::WrittenCheckpoint& checkpoint) {
                    return recorded_.Record(checkpoint, /*limit=*/0);
                  }}),
        recorded_(RecordedCheckpoints::Open(out / "recorded.json", &store).value()) {
    ParsedJob parsed = ParseJobYaml(ReadFile(job.file()).value(), "job.yaml").value();
    context_.spec = Resolve(parsed).value().spec;
    files_ = DigestLocalData(context_.spec).value();
    context_.job = JobId{"tiny"};
    context_.work_dir = out / "work";
    context_.dataset_path = [this](const BlobRef& file) -> StatusOr<fs::path> {
      return files_.at(file.sha256).path;
    };
    context_.blobs = &store;
    context_.link = &rank;
    context_.abort = &abort_;
    context_.clock = &clock;
  }

  void Start() {
    thread_ = Thread("loop", [this] { outcome_ = RunJob(context_); });
  }
  link::Outcome End() {
    thread_.Join();
    return outcome_;
  }
  const std::vector<link::WrittenCheckpoint>& recorded() const { return recorded_.checkpoints(); }
  std::vector<int64_t> recorded_steps() const {
    std::vector<int64_t> steps;
    for (const auto& checkpoint : recorded()) steps.push_back(checkpoint.step);
    return steps;
  }

  SlowStore store;
  SimulatedClock clock{absl::UnixEpoch()};
  HeardRank rank;

 private:
  RecordedCheckpoints recorded_;
  LocalFiles files_;
  RankContext context_;
  AbortSwitch abort_;
  link::Outcome outcome_;
  Thread thread_;
};

bool IsOfStep4(const std::string& key) { return key.find("step-00000004") != std::string::npos; }

class BesideTheSteps : public testing::Test {
 protected:
  BesideTheSteps() : attempt_(job_, folder_.path() / "out") {
    attempt_.store.before_checkpoint = [this](const std::string& key) -> Status {
      if (!IsOfStep4(key)) return OkStatus();
      attempt_.clock.Advance(absl::Seconds(10));
      writer_niceness_ = ::getpriority(PRIO_PROCESS, 0);
      released_.WaitForNotification();
      return OkStatus();
    };
  }
  ~BesideTheSteps() override {
    if (!released_.HasBeenNotified()) released_.Notify();
  }
  bool AwaitSaving() {
    return attempt_.rank.Await([](const Heard& h) { return h.phase == Phase::kSaving; });
  }
  bool AwaitStep(int64_t step) {
    return attempt_.rank.Await([&](const Heard& h) { return h.step >= step; });
  }
  bool FolderOfStep4Exists() const {
    return fs::exists(folder_.path() / "out/checkpoints/tiny/step-00000004-a1");
  }
  void ExpectIntact() {
    for (const auto& checkpoint : attempt_.recorded()) {
      EXPECT_OK(
          VerifyCheckpoint(folder_.path() / "out" / checkpoint.key, checkpoint.manifest_digest));
    }
  }

  const TinyJob job_;
  const TempFolder folder_;
  absl::Notification released_;  // lets the checkpoint of step 4 be written
  std::atomic<int> writer_niceness_ = 0;
  Attempt attempt_;
};

TEST_F(BesideTheSteps, TheNextOneWaitsForTheOneBeforeToBeRecorded) {
  attempt_.rank.pauses_until_recorded = 5;
  released_.Notify();
  attempt_.Start();
  EXPECT_EQ(attempt_.End().kind, link::OutcomeKind::kSucceeded);
  EXPECT_EQ(attempt_.rank.pauses_until_recorded.load(), 0);
  EXPECT_EQ(attempt_.recorded_steps(), (std::vector<int64_t>{4, 8, 12}));
}

TEST_F(BesideTheSteps, StepsGoOnWhileOneIsWrittenAndTheNextOneWaits) {
  attempt_.Start();
  ASSERT_TRUE(AwaitStep(7));
  EXPECT_FALSE(FolderOfStep4Exists());
  ASSERT_TRUE(AwaitSaving());  // that of step 8 is due, and waits
  EXPECT_EQ(attempt_.rank.heard().step, 8);
  attempt_.clock.Advance(absl::Seconds(30));
  released_.Notify();
  EXPECT_EQ(attempt_.End().kind, OutcomeKind::kSucceeded);

  EXPECT_THAT(attempt_.recorded_steps(), ElementsAre(4, 8, 12));
  ExpectIntact();
  const Heard heard = attempt_.rank.heard();
  EXPECT_GT(heard.beats_while_saving, 0);
  const Curve& stopped = heard.metrics.at("step_phase_seconds/checkpoint");
  const Curve& writing = heard.metrics.at("checkpoint_seconds");
  EXPECT_EQ(stopped.at(4), 0);
  EXPECT_EQ(writing.at(4), 10 + 30);
  EXPECT_GE(stopped.at(8), 30);
  EXPECT_EQ(writing.at(8), 0);
  EXPECT_EQ(stopped.size(), 3u);
  EXPECT_EQ(writing.size(), 3u);
}

TEST_F(BesideTheSteps, TheWriterAloneYields) {
  const int own = ::getpriority(PRIO_PROCESS, 0);
  attempt_.Start();
  ASSERT_TRUE(AwaitSaving());
  EXPECT_EQ(writer_niceness_, std::min(19, own + 10));
  released_.Notify();
  EXPECT_EQ(attempt_.End().kind, OutcomeKind::kSucceeded);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), own);
}

TEST_F(BesideTheSteps, WhatIsWrittenIsOfItsOwnStep) {
  attempt_.Start();
  ASSERT_TRUE(AwaitStep(7));
  released_.Notify();
  ASSERT_EQ(attempt_.End().kind, OutcomeKind::kSucceeded);

  // The same job, stopped after step 4: that checkpoint is written from the engine itself.
  Attempt at_once(job_, folder_.path() / "at-once");
  at_once.rank.on_beat = [&](int64_t step) {
    if (step == 3) at_once.rank.RequestStop(StopMode::kCheckpoint);
  };
  at_once.Start();
  ASSERT_EQ(at_once.End().reason, kStopped);
  ASSERT_THAT(at_once.recorded_steps(), ElementsAre(4));
  // The manifest has the digest of every file.
  EXPECT_EQ(attempt_.recorded()[0].manifest_digest, at_once.recorded()[0].manifest_digest);
}

TEST_F(BesideTheSteps, AStopWaitsAndLeavesBoth) {
  attempt_.rank.on_beat = [this](int64_t step) {
    if (step == 5) attempt_.rank.RequestStop(StopMode::kCheckpoint);
  };
  attempt_.Start();
  ASSERT_TRUE(AwaitSaving());
  EXPECT_THAT(attempt_.rank.heard().step, 6);
  released_.Notify();
  const link::Outcome outcome = attempt_.End();
  EXPECT_EQ(outcome.reason, kStopped) << outcome.message;
  EXPECT_THAT(attempt_.recorded_steps(), ElementsAre(4, 6));
  ExpectIntact();
}

TEST_F(BesideTheSteps, ToldToStopNowItIsGivenUpAndNothingOfItIsLeft) {
  attempt_.rank.on_beat = [this](int64_t step) {
    if (step == 6) attempt_.rank.RequestStop(StopMode::kNow);
  };
  attempt_.Start();
  ASSERT_TRUE(AwaitSaving());
  released_.Notify();
  EXPECT_EQ(attempt_.End().reason, kStopped);
  EXPECT_THAT(attempt_.recorded_steps(), IsEmpty());
  EXPECT_FALSE(FolderOfStep4Exists());
  EXPECT_THAT(attempt_.rank.heard().events, IsEmpty());
}

TEST_F(BesideTheSteps, AFailureIsToldAndTheJobGoesOn) {
  attempt_.store.before_checkpoint = [](const std::string& key) {
    return IsOfStep4(key) ? ResourceExhausted("no space left on device") : OkStatus();
  };
  attempt_.Start();
  EXPECT_EQ(attempt_.End().kind, OutcomeKind::kSucceeded);
  EXPECT_THAT(attempt_.rank.heard().failed_steps, ElementsAre(4));
  EXPECT_THAT(attempt_.rank.heard().events, ElementsAre("CHECKPOINT_FAILED"));
  EXPECT_THAT(attempt_.recorded_steps(), ElementsAre(8, 12));
  ExpectIntact();
}

TEST_F(BesideTheSteps, WhatALibraryThrowsIsAFailureToo) {
  attempt_.store.before_checkpoint = [](const std::string& key) -> Status {
    if (IsOfStep4(key)) throw std::bad_alloc();
    return OkStatus();
  };
  attempt_.Start();
  EXPECT_EQ(attempt_.End().kind, OutcomeKind::kSucceeded);
  EXPECT_THAT(attempt_.rank.heard().failed_steps, ElementsAre(4));
  EXPECT_THAT(attempt_.recorded_steps(), ElementsAre(8, 12));
}

}  // namespace
}  // namespace trainyard::worker

// The agent with real processes and a real gRPC server, on loopback.
#include "worker/agent/agent.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>

#include "common/job_spec/json.h"
#include "common/wire/channel.h"
#include "tests/support/places.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class AgentTest : public testing::Test {
 protected:
  AgentTest() : folder_(testing::TempDir() + "/agent-" + RandomHex(4)) {
    fs::create_directories(folder_);
    blobs_ = *DirectoryBlobStore::Open(folder_ / "blobs");
  }
  ~AgentTest() override {
    agent_.reset();
    coordinator_.Stop();
    KillLeftOvers();
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    fs::remove_all(folder_);
  }

  fs::path home() const { return folder_ / "worker-0"; }

  AgentOptions Options() const {
    AgentOptions options;
    options.worker_id = "worker-0";
    options.ranks.home = home();
    options.ranks.trainer = TestProgramFolder() / "fake_trainer";
    options.ranks.blob_root = folder_ / "blobs";
    options.ranks.bind_address = "127.0.0.1";
    options.ranks.slots = MakeSlots(4, "A CPU", {});
    options.token = [] { return "a-token"; };
    options.limits.checkpoint_grace = absl::Seconds(2);
    options.limits.now_grace = absl::Milliseconds(500);
    return options;
  }
  void StartAgent(const AgentOptions& options) {
    const auto channel = OpenChannel({.address = coordinator_.address()});
    ASSERT_OK(channel);
    StatusOr<std::unique_ptr<Agent>> agent = Agent::Start(options, *channel, *blobs_, clock_);
    ASSERT_OK(agent);
    agent_ = *std::move(agent);
  }
  void StartAgent() { StartAgent(Options()); }

  static RankKey Key(int rank = 0, int attempt = 1) { return {JobId{"job"}, attempt, rank}; }

  void Want(const RankKey& key, const std::string& mode, const char* stop = "none") {
    v1::DesiredRank* rank = nullptr;
    for (v1::DesiredRank& old : *desired_.mutable_ranks())
      if (old.rank().rank() == key.rank && old.attempt() == key.attempt) rank = &old;
    if (rank == nullptr) rank = desired_.add_ranks();
    rank->set_job_id(key.job.value);
    rank->set_attempt(key.attempt);
    rank->mutable_rank()->set_rank(key.rank);
    rank->mutable_rank()->set_slot(key.rank);
    rank->mutable_rank()->set_share(1);
    rank->mutable_rank()->set_worker("worker-0");
    rank->clear_all_ranks();
    for (int i = 0; i <= key.rank; ++i) {
      v1::Rank placement = rank->rank();
      placement.set_rank(i);
      placement.set_slot(i);
      placement.set_role("train");
      *rank->add_all_ranks() = placement;
    }
    JobSpec spec;
    spec.name = mode;
    rank->set_spec_json(JobSpecToJson(spec).dump());
    rank->set_attempt_secret("attempt secret");
    rank->set_recorded_step(-1);
    rank->set_stop(stop);
    coordinator_.SetDesired(desired_);
  }
  void WantNothing() {
    desired_.clear_ranks();
    coordinator_.SetDesired(desired_);
  }
  // Waits for the rank's report to be as wanted; the report.
  v1::RankReport Await(const RankKey& key,
                       const std::function<bool(const v1::RankReport&)>& wanted) {
    v1::RankReport found;
    EXPECT_TRUE(coordinator_.AwaitReport([&](const v1::WorkerReport& report) {
      for (const v1::RankReport& rank : report.ranks())
        if (rank.job_id() == key.job.value && rank.attempt() == key.attempt &&
            rank.rank() == key.rank && wanted(rank)) {
          found = rank;
          return true;
        }
      return false;
    })) << coordinator_.report().DebugString();
    return found;
  }
  v1::RankReport AwaitRunning(const RankKey& key) {
    return Await(key, [](const v1::RankReport& r) { return r.process() == "running"; });
  }
  v1::RankReport AwaitExited(const RankKey& key) {
    return Await(key, [](const v1::RankReport& r) { return r.process() == "exited"; });
  }
  void AwaitForgotten() {
    EXPECT_TRUE(coordinator_.AwaitReport([](const v1::WorkerReport& report) {
      return report.ranks_size() == 0;
    })) << coordinator_.report().DebugString();
    EXPECT_TRUE(fs::is_empty(home() / "ranks"));
  }
  static bool IsAlive(int64_t pid) {
    const StatusOr<ProcessStat> stat = ReadProcessStat(static_cast<pid_t>(pid));
    return stat.ok() && stat->state != 'Z';
  }
  void KillLeftOvers() {
    StatusOr<Journal> journal = Journal::Open(home());
    if (!journal.ok()) return;
    const StatusOr<Journal::Scanned> scanned = journal->Scan();
    if (!scanned.ok()) return;
    for (const RankRecord& record : scanned->ranks)
      if (!record.ended) (void)KillGroup(record.process);
  }
  // A log's "step N" lines count up from 1 without a gap.
  static void ExpectWholeLog(const std::string& log) {
    std::istringstream lines(log);
    std::string line;
    int64_t next = 1;
    while (std::getline(lines, line) && !lines.eof())
      ASSERT_EQ(line, fmt::format("step {}", next++)) << log.substr(0, 2000);
    EXPECT_GT(next, 1);
  }

  const fs::path folder_;
  const SystemClock clock_;
  FakeCoordinator coordinator_;
  std::unique_ptr<DirectoryBlobStore> blobs_;
  v1::DesiredState desired_;
  std::unique_ptr<Agent> agent_;
};

TEST_F(AgentTest, ARankRunsTellsItsStateAndItsEndAndLeavesNothing) {
  StartAgent();
  Want(Key(), "quick");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.outcome().kind(), "succeeded");
  EXPECT_EQ(end.phase(), "training");
  EXPECT_EQ(end.step(), 5);
  EXPECT_TRUE(coordinator_.AwaitPoints(Key(), 5));
  EXPECT_TRUE(coordinator_.AwaitLog(
      Key(), [](const std::string& log) { return log.ends_with("step 5\n"); }));
  ExpectWholeLog(coordinator_.log(Key()));
  WantNothing();
  AwaitForgotten();
}

TEST_F(AgentTest, TheReasonOfAFailureComesFromTheExitRecord) {
  StartAgent();
  Want(Key(), "fails");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.outcome().kind(), "failed");
  EXPECT_EQ(end.outcome().reason(), "BAD_INPUT");
  EXPECT_EQ(end.outcome().message(), "the data is bad");
  EXPECT_EQ(end.outcome().exit_code(), 1);
}

TEST_F(AgentTest, AKilledRankIsReportedWithin200Milliseconds) {
  StartAgent();
  Want(Key(), "");
  const v1::RankReport running = AwaitRunning(Key());
  EXPECT_EQ(running.listen_address(), "127.0.0.1:1");
  const absl::Duration before = clock_.Elapsed();
  ASSERT_EQ(::kill(static_cast<pid_t>(running.pid()), SIGKILL), 0);
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_LT(clock_.Elapsed() - before, absl::Milliseconds(200));
  EXPECT_EQ(end.outcome().reason(), "KILLED");
  EXPECT_EQ(end.outcome().signal(), SIGKILL);
}

TEST_F(AgentTest, StopReachesTheTrainerWhichEndsByItself) {
  StartAgent();
  Want(Key(), "");
  AwaitRunning(Key());
  Want(Key(), "", "checkpoint");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.outcome().kind(), "stopped");
  EXPECT_EQ(end.outcome().message(), "told to");
}

TEST_F(AgentTest, ADeafRankIsKilledWhenItsGraceIsOver) {
  StartAgent();
  Want(Key(), "deaf");
  AwaitRunning(Key());
  Want(Key(), "deaf", "now");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.outcome().kind(), "stopped");
  EXPECT_EQ(end.outcome().reason(), "STOPPED");
}

TEST_F(AgentTest, ARankThatIsNotWantedGoesWithItsChildren) {
  StartAgent();
  Want(Key(), "family");
  const int64_t pid = AwaitRunning(Key()).pid();
  ASSERT_TRUE(coordinator_.AwaitLog(
      Key(), [](const std::string& log) { return log.find("step 1\n") != std::string::npos; }));
  const std::string log = coordinator_.log(Key());
  const pid_t child = std::stoi(log.substr(log.find("child ") + 6));
  ASSERT_OK_AND_ASSIGN(const ProcessIdentity identity, IdentityOf(child));
  ASSERT_OK_AND_ASSIGN(const UniqueFd watch, OpenProcess(identity));
  WantNothing();
  pollfd poll_fd{watch.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&poll_fd, 1, 5000), 1);
  AwaitForgotten();
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(AgentTest, ANewAgentAdoptsARunningRankAndLosesNothing) {
  StartAgent();
  Want(Key(), "");
  const int64_t pid = AwaitRunning(Key()).pid();
  ASSERT_TRUE(coordinator_.AwaitPoints(Key(), 3));
  const std::string first_epoch = coordinator_.report().worker_epoch();
  for (int life = 0; life < 2; ++life) {
    agent_.reset();
    EXPECT_TRUE(IsAlive(pid));
    const size_t points = coordinator_.points(Key()).size();
    StartAgent();
    ASSERT_TRUE(coordinator_.AwaitPoints(Key(), points + 5));
    EXPECT_EQ(AwaitRunning(Key()).pid(), pid);
  }
  EXPECT_NE(coordinator_.report().worker_epoch(), first_epoch);
  Want(Key(), "", "now");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.pid(), pid);
  EXPECT_EQ(end.outcome().kind(), "stopped");
  const auto last = static_cast<size_t>(end.step());
  EXPECT_TRUE(coordinator_.AwaitPoints(Key(), last));
  EXPECT_EQ(coordinator_.points(Key()).size(), last);
  EXPECT_TRUE(coordinator_.AwaitLog(Key(), [&](const std::string& log) {
    return log.ends_with(fmt::format("step {}\n", last));
  }));
  ExpectWholeLog(coordinator_.log(Key()));
  WantNothing();
  AwaitForgotten();
}

TEST_F(AgentTest, ARankThatEndedWhileNoAgentWatchedIsReportedFromItsRecord) {
  StartAgent();
  Want(Key(0), "");
  Want(Key(1), "");
  const auto pid = static_cast<pid_t>(AwaitRunning(Key(0)).pid());
  const auto killed = static_cast<pid_t>(AwaitRunning(Key(1)).pid());
  agent_.reset();
  // One writes its record and dies, the other just dies.
  ASSERT_OK_AND_ASSIGN(const ProcessIdentity identity, IdentityOf(killed));
  ASSERT_OK(KillGroup(identity));
  ::waitpid(killed, nullptr, 0);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ::waitpid(pid, nullptr, 0);
  link::ExitRecord record;
  record.status.job = Key(0).job;
  record.status.attempt = 1;
  record.status.step = 70;
  record.status.checkpoint = {70, "checkpoints/job/step-00000070-a1", "digest", 9};
  record.status.outcome = {link::OutcomeKind::kStopped, "OK", "AGENT_LOST", ""};
  ASSERT_OK(link::WriteExitRecord(home() / "ranks" / "job-a1-r0" / link::kExitRecordFile, record));
  for (int life = 0; life < 2; ++life) {  // the first buries it, the second reads the journal
    StartAgent();
    const v1::RankReport end = AwaitExited(Key(0));
    EXPECT_EQ(end.outcome().reason(), "AGENT_LOST");
    EXPECT_EQ(end.checkpoint_step(), 70) << "the report of the end has the checkpoint with it";
    EXPECT_EQ(AwaitExited(Key(1)).outcome().reason(), "KILLED");
    agent_.reset();
    coordinator_.ForgetReports();
  }
  StartAgent();
  WantNothing();
  AwaitForgotten();
}

TEST_F(AgentTest, AReusedPidIsNotAdoptedAndNotKilled) {
  StartAgent();
  agent_.reset();
  // The journal names this very process, with an earlier start.
  ASSERT_OK_AND_ASSIGN(Journal journal, Journal::Open(home()));
  RankRecord record;
  record.key = Key();
  ASSERT_OK_AND_ASSIGN(record.process, IdentityOf(::getpid()));
  record.process.start_ticks -= 100;
  ASSERT_OK(journal.MakeFolder(record.key));
  ASSERT_OK(journal.Write(record));
  StartAgent();
  AwaitForgotten();
}

TEST_F(AgentTest, LosingTheCoordinatorTouchesNoTrainerAndLosesNothing) {
  StartAgent();
  Want(Key(), "");
  const int64_t pid = AwaitRunning(Key()).pid();
  ASSERT_TRUE(coordinator_.AwaitPoints(Key(), 3));
  coordinator_.Stop();
  const int64_t reports = coordinator_.reports();
  ASSERT_FALSE(agent_->WaitFor(absl::Milliseconds(700)).has_value());
  EXPECT_TRUE(IsAlive(pid));
  EXPECT_FALSE(agent_->numbers().connected);
  coordinator_.Restart();
  ASSERT_TRUE(coordinator_.AwaitReports(reports + 1));
  Want(Key(), "", "now");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_TRUE(coordinator_.AwaitPoints(Key(), static_cast<size_t>(end.step())));
  EXPECT_TRUE(coordinator_.AwaitLog(Key(), [&](const std::string& log) {
    return log.ends_with(fmt::format("step {}\n", end.step()));
  }));
  ExpectWholeLog(coordinator_.log(Key()));
}

TEST_F(AgentTest, AFloodOfLogBytesIsBoundedOnDisk) {
  AgentOptions options = Options();
  options.telemetry.log_retained_bytes = 2 << 20;
  StartAgent(options);
  Want(Key(), "flood");
  AwaitRunning(Key());
  ASSERT_TRUE(coordinator_.AwaitLog(
      Key(), [](const std::string& log) { return log.find("step 1\n") != std::string::npos; }));
  struct stat info;
  ASSERT_EQ(::stat((home() / "ranks" / "job-a1-r0" / "log").c_str(), &info), 0);
  EXPECT_GE(info.st_size, 64 << 20);
  EXPECT_LT(int64_t{info.st_blocks} * 512, 10 << 20);  // 2 retained, 4 not journaled, 1 on its way
  WantNothing();
  AwaitForgotten();
}

TEST_F(AgentTest, GarbageInTheJournalHarmsNobody) {
  fs::create_directories(home() / "ranks" / "job-a1-r7");
  std::ofstream(home() / "ranks" / "job-a1-r7" / "rank.json") << "{\"version\": 1, \"pid\": -4";
  std::ofstream(home() / "ranks" / "core.1234") << "junk";
  StartAgent();
  Want(Key(), "quick");
  EXPECT_EQ(AwaitExited(Key()).outcome().kind(), "succeeded");
  EXPECT_EQ(std::distance(fs::directory_iterator(home() / "aside"), {}), 2);
}

TEST_F(AgentTest, ATrainerThatCannotBeStartedIsReportedAndNotTriedAgain) {
  AgentOptions options = Options();
  options.ranks.trainer = "/no/such/trainer";
  StartAgent(options);
  Want(Key(), "");
  const v1::RankReport end = AwaitExited(Key());
  EXPECT_EQ(end.outcome().reason(), "SPAWN_FAILED");
  EXPECT_THAT(end.outcome().message(), HasSubstr("/no/such/trainer"));
  WantNothing();
  AwaitForgotten();
}

TEST_F(AgentTest, ARankOnASlotThatIsNotHereIsRefused) {
  StartAgent();
  Want(Key(9), "");
  EXPECT_THAT(AwaitExited(Key(9)).outcome().message(), HasSubstr("slot 9"));
}

TEST_F(AgentTest, TheTrainerSeesNoDescriptorOfTheAgentAndNoToken) {
  ::setenv("TRAINYARD_TOKEN", "must-not-leak", 1);
  StartAgent();
  Want(Key(), "descriptors");
  AwaitRunning(Key());
  ::unsetenv("TRAINYARD_TOKEN");
  ASSERT_TRUE(coordinator_.AwaitLog(
      Key(), [](const std::string& log) { return log.find("step 1\n") != std::string::npos; }));
  const std::string log = coordinator_.log(Key());
  EXPECT_THAT(log, testing::StartsWith("fd 0\nfd 1\nfd 2\nfd 3\n"));
  EXPECT_THAT(log, testing::Not(HasSubstr("fd 4")));
  EXPECT_THAT(log, testing::Not(HasSubstr("must-not-leak")));
  EXPECT_THAT(log, HasSubstr("OMP_NUM_THREADS=1\n"));
}

TEST_F(AgentTest, TheProbeObjectIsReadAndItsDigestReported) {
  ASSERT_OK(blobs_->Put("probe/abc", "some bytes"));
  desired_.set_blob_probe_key("probe/abc");
  coordinator_.SetDesired(desired_);
  StartAgent();
  EXPECT_TRUE(coordinator_.AwaitReport(
      [](const v1::WorkerReport& report) { return report.blob_probe() == Sha256("some bytes"); }));
}

TEST_F(AgentTest, ARefusalEndsTheAgent) {
  desired_.set_refused("another worker-0 is connected");
  coordinator_.SetDesired(desired_);
  StartAgent();
  const auto end = agent_->WaitFor(absl::Seconds(10));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->how, AgentEnd::kRefused);
  EXPECT_EQ(end->why, "another worker-0 is connected");
}

TEST_F(AgentTest, AWrongTokenEndsTheAgent) {
  coordinator_.SetToken("another-token");
  StartAgent();
  const auto end = agent_->WaitFor(absl::Seconds(10));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->how, AgentEnd::kDenied);
}

TEST_F(AgentTest, DrainingStopsTheRanksAndEndsTheAgent) {
  StartAgent();
  Want(Key(0), "");
  Want(Key(1), "");
  AwaitRunning(Key(0));
  const int64_t pid = AwaitRunning(Key(1)).pid();
  agent_->Drain();
  EXPECT_EQ(AwaitExited(Key(0)).outcome().message(), "told to");
  EXPECT_EQ(AwaitExited(Key(1)).outcome().message(), "told to");
  WantNothing();
  const auto end = agent_->WaitFor(absl::Seconds(10));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->how, AgentEnd::kDrained);
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(AgentTest, KillAllEndsDeafRanksAtOnce) {
  StartAgent();
  Want(Key(), "deaf");
  const int64_t pid = AwaitRunning(Key()).pid();
  agent_->KillAll();
  EXPECT_TRUE(agent_->WaitFor(absl::Seconds(10)).has_value());
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(AgentTest, AHomeWithALongNameStillHasASocket) {
  AgentOptions options = Options();
  options.ranks.home = folder_ / std::string(120, 'h');
  StartAgent(options);
  Want(Key(), "quick");
  EXPECT_EQ(AwaitExited(Key()).step(), 5);
  WantNothing();
  EXPECT_TRUE(coordinator_.AwaitReport(
      [](const v1::WorkerReport& report) { return report.ranks_size() == 0; }));
}

}  // namespace
}  // namespace trainyard::worker

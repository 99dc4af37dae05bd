// The program trainyard-worker as an operator starts it.
#include <gmock/gmock.h>
#include <httplib.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <deque>

#include "common/blob_store.h"
#include "common/job_spec/json.h"
#include "tests/support/places.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/agent/fake_coordinator.h"
#include "worker/agent/journal.h"
#include "worker/agent/rank_process.h"

namespace trainyard::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class MainTest : public testing::Test {
 protected:
  MainTest() : folder_(testing::TempDir() + "/worker-main-" + RandomHex(4)) {
    fs::create_directories(folder_);
    WriteToken("token");
    WriteToken("scraper");
    coordinator_.SetToken(Token("token"));
  }
  ~MainTest() override {
    daemons_.clear();
    coordinator_.Stop();
    fs::remove_all(folder_);
  }

  std::string Token(const std::string& name) const { return Sha256(name); }
  void WriteToken(const std::string& name) {
    ASSERT_OK(WriteFileAtomically(folder_ / name, Token(name) + "\n"));
  }

  struct Daemon {
    Spawned spawned;
    fs::path log;
    bool buried = false;
    ~Daemon() {
      if (!buried) (void)Bury(spawned.identity, spawned.pidfd.get());
    }
    // Its exit code; -1 when it is not over within 20 s, 128 + n after signal n.
    int Wait() {
      pollfd poll_fd{spawned.pidfd.get(), POLLIN, 0};
      if (::poll(&poll_fd, 1, 20'000) != 1) return -1;
      const auto status = Bury(spawned.identity, spawned.pidfd.get());
      buried = true;
      if (!status.ok() || !status->has_value()) return -1;
      return (*status)->signal != 0 ? 128 + (*status)->signal : (*status)->exit_code;
    }
    void Signal(int number) const { ::kill(spawned.identity.pid, number); }
    std::string Words() const { return ReadFile(log).value_or(""); }
  };

  Daemon& Start(std::vector<std::string> more, bool with_defaults = true) {
    SpawnRequest request;
    request.command = {(ProgramFolder() / "trainyard-worker").string()};
    if (with_defaults)
      for (const std::string& word :
           {std::string("--id"), std::string("worker-0"), std::string("--coordinator"),
            coordinator_.address(), std::string("--token-file"), (folder_ / "token").string(),
            std::string("--scraper-token-file"), (folder_ / "scraper").string(),
            std::string("--home"), (folder_ / "home").string(), std::string("--blobs"),
            (folder_ / "blobs").string(), std::string("--http"), std::string("127.0.0.1:0"),
            std::string("--trainer"), (TestProgramFolder() / "fake_trainer").string()})
        request.command.push_back(word);
    request.command.insert(request.command.end(), more.begin(), more.end());
    request.environment = TrainerEnvironment(1, "");
    request.log = folder_ / fmt::format("log-{}", daemons_.size());
    request.folder = folder_;
    StatusOr<Spawned> spawned = Spawn(request, [](const auto&) { return OkStatus(); });
    EXPECT_OK(spawned);
    daemons_.emplace_back();
    daemons_.back().spawned = *std::move(spawned);
    daemons_.back().log = request.log;
    return daemons_.back();
  }

  void WantARank(const std::string& mode) {
    v1::DesiredState desired;
    v1::DesiredRank& rank = *desired.add_ranks();
    rank.set_job_id("job");
    rank.set_attempt(1);
    rank.mutable_rank()->set_role("train");
    rank.mutable_rank()->set_worker("worker-0");
    rank.mutable_rank()->set_share(1);
    *rank.add_all_ranks() = rank.rank();
    JobSpec spec;
    spec.name = mode;
    rank.set_spec_json(JobSpecToJson(spec).dump());
    rank.set_recorded_step(-1);
    coordinator_.SetDesired(desired);
  }
  int64_t AwaitRunning(const std::string& epoch_before = "") {
    EXPECT_TRUE(coordinator_.AwaitReport([&](const v1::WorkerReport& report) {
      return report.worker_epoch() != epoch_before && report.ranks_size() == 1 &&
             report.ranks(0).process() == "running";
    })) << coordinator_.report().DebugString();
    return coordinator_.report().ranks(0).pid();
  }
  static bool IsAlive(int64_t pid) {
    const StatusOr<ProcessStat> stat = ReadProcessStat(static_cast<pid_t>(pid));
    return stat.ok() && stat->state != 'Z';
  }

  const fs::path folder_;
  FakeCoordinator coordinator_;
  std::deque<Daemon> daemons_;
};

TEST_F(MainTest, BadUsageExitsWithTwoAndSaysWhatIsWrong) {
  Daemon& daemon = Start({"--id", "w", "--colour"}, false);
  EXPECT_EQ(daemon.Wait(), 2);
  EXPECT_THAT(daemon.Words(), HasSubstr("--colour: no such flag"));
}

TEST_F(MainTest, ARefusedTokenExitsWithFour) {
  coordinator_.SetToken("another");
  Daemon& daemon = Start({});
  EXPECT_EQ(daemon.Wait(), 4);
  EXPECT_THAT(daemon.Words(), HasSubstr("refused this worker: wrong token"));
}

TEST_F(MainTest, TwoDaemonsOnOneHomeAreOneTooMany) {
  Start({});
  ASSERT_TRUE(coordinator_.AwaitReports(1));
  Daemon& second = Start({});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.Words(), HasSubstr("another trainyard-worker (process "));
}

TEST_F(MainTest, MetricsNeedTheScrapersTokenAndHealthDoesNot) {
  Start({"--slots", "3"});
  ASSERT_TRUE(coordinator_.AwaitReports(2));
  const std::string address = coordinator_.report().http_address();
  ASSERT_THAT(address, testing::StartsWith("127.0.0.1:"));
  httplib::Client client("127.0.0.1", std::stoi(address.substr(address.find(':') + 1)));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_NE(client.Get("/metrics")->status, 200);
  const auto answer = client.Get("/metrics", {{"Authorization", "Bearer " + Token("scraper")}});
  ASSERT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body,
              HasSubstr("trainyard_worker_slots{worker=\"worker-0\",device=\"cpu\"} 3\n"));
  EXPECT_THAT(answer->body, HasSubstr("trainyard_worker_connected_ratio{worker=\"worker-0\"} 1\n"));
  EXPECT_THAT(answer->body, HasSubstr("\nprocess_resident_memory_bytes "));
}

TEST_F(MainTest, TrainersOutliveTheDaemonHoweverItEnds) {
  WantARank("");
  Daemon* daemon = &Start({});
  const int64_t pid = AwaitRunning();
  for (const int number : {SIGKILL, SIGTERM}) {
    const std::string epoch = coordinator_.report().worker_epoch();
    daemon->Signal(number);
    EXPECT_EQ(daemon->Wait(), number == SIGKILL ? 128 + SIGKILL : 0);
    EXPECT_TRUE(IsAlive(pid));
    daemon = &Start({"--kill-on-exit"});
    EXPECT_EQ(AwaitRunning(epoch), pid);
    EXPECT_THAT(daemon->Words(), HasSubstr(fmt::format("adopted process {}", pid)));
    if (number == SIGKILL) {  // the next one leaves them
      const std::string second = coordinator_.report().worker_epoch();
      daemon->Signal(SIGKILL);
      daemon->Wait();
      daemon = &Start({});
      EXPECT_EQ(AwaitRunning(second), pid);
    }
  }
  daemon->Signal(SIGTERM);  // --kill-on-exit
  EXPECT_EQ(daemon->Wait(), 0);
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(MainTest, DrainingStopsTheTrainersAndASecondSignalKillsThem) {
  WantARank("");
  Daemon& gentle = Start({"--drain"});
  const int64_t pid = AwaitRunning();
  gentle.Signal(SIGTERM);
  EXPECT_EQ(gentle.Wait(), 0);
  EXPECT_FALSE(IsAlive(pid));
  EXPECT_THAT(gentle.Words(), HasSubstr("told to"));

  fs::remove_all(folder_ / "home");
  const std::string epoch = coordinator_.report().worker_epoch();
  WantARank("deaf");
  Daemon& hurried = Start({"--drain"});
  const int64_t deaf = AwaitRunning(epoch);
  hurried.Signal(SIGINT);
  hurried.Signal(SIGTERM);
  EXPECT_EQ(hurried.Wait(), 0);
  EXPECT_FALSE(IsAlive(deaf));
}

}  // namespace
}  // namespace trainyard::worker

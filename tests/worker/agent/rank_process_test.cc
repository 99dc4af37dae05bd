#include "worker/agent/rank_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <deque>

#include "tests/support/status_matchers.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

class RankProcessTest : public testing::Test {
 protected:
  RankProcessTest() : folder_(testing::TempDir() + "/rank-process-" + RandomHex(4)) {
    std::filesystem::create_directories(folder_);
  }
  ~RankProcessTest() override {
    for (const Spawned& spawned : spawned_) {
      (void)KillGroup(spawned.identity);
      ::waitpid(spawned.identity.pid, nullptr, 0);  // ECHILD when it is buried already
    }
    std::filesystem::remove_all(folder_);
  }

  StatusOr<Spawned*> Shell(const std::string& script, const std::string& secret = "") {
    SpawnRequest request;
    request.command = {"/bin/sh", "-c", script};
    request.environment = TrainerEnvironment(3, "");
    request.log = folder_ / "log";
    request.folder = folder_;
    request.secret = secret;
    ASSIGN_OR_RETURN(Spawned spawned, Spawn(request, [](const auto&) { return OkStatus(); }));
    spawned_.push_back(std::move(spawned));
    return &spawned_.back();
  }
  static bool Ended(const Spawned& spawned, int within_ms) {
    pollfd poll_fd{spawned.pidfd.get(), POLLIN, 0};
    return ::poll(&poll_fd, 1, within_ms) == 1;
  }
  std::string Log() { return ReadFile(folder_ / "log").value_or(""); }

  std::filesystem::path folder_;
  std::deque<Spawned> spawned_;
};

TEST_F(RankProcessTest, SaysHowAChildEnded) {
  ASSERT_OK_AND_ASSIGN(Spawned * exits, Shell("exit 7"));
  ASSERT_TRUE(Ended(*exits, 5000));
  ASSERT_OK_AND_ASSIGN(auto status, Bury(exits->identity, exits->pidfd.get()));
  EXPECT_EQ(status->exit_code, 7);
  EXPECT_EQ(status->signal, 0);
  ASSERT_OK_AND_ASSIGN(Spawned * dies, Shell("kill -9 $$"));
  ASSERT_TRUE(Ended(*dies, 5000));
  ASSERT_OK_AND_ASSIGN(status, Bury(dies->identity, dies->pidfd.get()));
  EXPECT_EQ(status->signal, SIGKILL);
}

TEST_F(RankProcessTest, TheChildSeesOnlyItsOwnDescriptorsAndACleanEnvironment) {
  const UniqueFd leak(
      ::open("/etc/hostname", O_RDONLY));  // not close-on-exec, as a library's might be
  ASSERT_TRUE(leak.valid());
  ::setenv("TRAINYARD_TOKEN", "must-not-leak", 1);
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("cat <&3; echo; for n in $(seq 0 200); do [ ! -e "
                                              "/proc/$$/fd/$n ] || echo fd $n; done; env; "
                                              "ulimit -c",
                                              "the secret"));
  ::unsetenv("TRAINYARD_TOKEN");
  ASSERT_TRUE(Ended(*child, 5000));
  const std::string log = Log();
  EXPECT_THAT(log, testing::StartsWith("the secret\nfd 0\nfd 1\nfd 2\nfd 3\n"));
  EXPECT_THAT(log, testing::Not(HasSubstr("fd 4")));
  EXPECT_THAT(log, testing::Not(HasSubstr("must-not-leak")));
  EXPECT_THAT(log, HasSubstr("OMP_NUM_THREADS=3\n"));
  EXPECT_THAT(log, HasSubstr("CUDA_VISIBLE_DEVICES=\n"));
  EXPECT_THAT(log, testing::EndsWith("\n0\n"));  // core file size
}

TEST_F(RankProcessTest, KillingTheGroupTakesTheChildrenToo) {
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("sleep 1000 & echo $!; wait"));
  while (Log().empty()) ASSERT_FALSE(Ended(*child, 1));
  const pid_t grandchild = std::stoi(Log());
  ASSERT_OK_AND_ASSIGN(const ProcessIdentity identity, IdentityOf(grandchild));
  ASSERT_OK_AND_ASSIGN(const UniqueFd watch, OpenProcess(identity));
  ASSERT_OK(KillGroup(child->identity));
  ASSERT_TRUE(Ended(*child, 5000));
  pollfd poll_fd{watch.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&poll_fd, 1, 5000), 1);
}

TEST_F(RankProcessTest, BuryingADeadLeaderTakesTheChildrenItLeft) {
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("sleep 1000 & echo $!; exit 3"));
  ASSERT_TRUE(Ended(*child, 5000));
  ASSERT_OK_AND_ASSIGN(const ProcessIdentity orphan, IdentityOf(std::stoi(Log())));
  ASSERT_OK_AND_ASSIGN(const UniqueFd watch, OpenProcess(orphan));
  ASSERT_OK_AND_ASSIGN(const auto status, Bury(child->identity, child->pidfd.get()));
  EXPECT_EQ(status->exit_code, 3);
  pollfd poll_fd{watch.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&poll_fd, 1, 5000), 1);
}

TEST_F(RankProcessTest, ANumberThatBelongsToAnotherProcessNowIsNeitherWatchedNorKilled) {
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("sleep 1000"));
  ProcessIdentity earlier = child->identity;
  earlier.start_ticks -= 1;
  EXPECT_THAT(OpenProcess(earlier), StatusIs(StatusCode::kNotFound, HasSubstr("gone")));
  ASSERT_OK(KillGroup(earlier));
  ProcessIdentity other_boot = child->identity;
  other_boot.boot_id = "an earlier boot";
  EXPECT_THAT(OpenProcess(other_boot), StatusIs(StatusCode::kNotFound, HasSubstr("gone")));
  ASSERT_OK(KillGroup(other_boot));
  EXPECT_FALSE(Ended(*child, 100));
  EXPECT_OK(OpenProcess(child->identity));
}

TEST_F(RankProcessTest, AZombieCountsAsGone) {
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("exit 0"));
  ASSERT_TRUE(Ended(*child, 5000));
  EXPECT_THAT(OpenProcess(child->identity), StatusIs(StatusCode::kNotFound, HasSubstr("gone")));
}

TEST_F(RankProcessTest, AProgramThatCannotRunIsAnErrorThatNamesIt) {
  SpawnRequest request;
  request.command = {"/no/such/trainer", "rank"};
  request.log = folder_ / "log";
  request.folder = folder_;
  EXPECT_THAT(Spawn(request, [](const auto&) { return OkStatus(); }),
              StatusIs(StatusCode::kNotFound, HasSubstr("/no/such/trainer")));
}

TEST_F(RankProcessTest, NothingRunsThatCouldNotBeWrittenDown) {
  SpawnRequest request;
  request.command = {"/bin/sh", "-c", "echo ran"};
  request.log = folder_ / "log";
  request.folder = folder_;
  pid_t pid = 0;
  const auto refuse = [&](const ProcessIdentity& identity) {
    pid = identity.pid;
    return ResourceExhausted("disk full");
  };
  EXPECT_THAT(Spawn(request, refuse),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("disk full")));
  EXPECT_EQ(Log(), "");
  EXPECT_FALSE(ReadProcessStat(pid).ok());
}

TEST_F(RankProcessTest, TheChildLeadsItsOwnGroup) {
  ASSERT_OK_AND_ASSIGN(Spawned * child, Shell("sleep 1000"));
  ASSERT_OK_AND_ASSIGN(const ProcessStat stat, ReadProcessStat(child->identity.pid));
  EXPECT_EQ(stat.group, child->identity.pid);
  EXPECT_EQ(*ReadFile(fmt::format("/proc/{}/oom_score_adj", child->identity.pid)), "500\n");
}

TEST(RankKey, NamesReadBackAndOnlyNames) {
  const RankKey key{JobId{"my-a1-r2-job"}, 12, 3};
  EXPECT_EQ(NameOf(key), "my-a1-r2-job-a12-r3");
  EXPECT_EQ(ParseRankName(NameOf(key)), key);
  for (const char* bad : {"", "job", "job-a1", "-a1-r1", "job-a01-r1", "job-a1-r-1", "job-a1-r1x",
                          "../x-a1-r1", ".x-a1-r1", "a/b-a1-r1", "job-a99999999999-r1"})
    EXPECT_EQ(ParseRankName(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace trainyard::worker

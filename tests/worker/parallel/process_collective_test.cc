#include <gmock/gmock.h>
#include <signal.h>

#include <charconv>
#include <filesystem>
#include <set>

#include "common/clock.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_checks.h"
#include "tests/worker/parallel/rank_processes.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::Each;
using testing::EndsWith;
using testing::Field;
using testing::HasSubstr;
using testing::StartsWith;

int64_t Microseconds() { return absl::ToInt64Microseconds(SystemClock().Elapsed()); }

std::set<std::string> NamesIn(const char* folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

Status AllReduce(Collective& collective, absl::Duration timeout) {
  std::vector<float> values(300'000, 1);
  return collective.AllReduceSum(std::span<float>(values), timeout);
}

class ProcessCollective : public testing::TestWithParam<Transport> {};

INSTANTIATE_TEST_SUITE_P(Over, ProcessCollective,
                         testing::Values(Transport::kBest, Transport::kTcp), [](const auto& over) {
                           return over.param == Transport::kTcp ? "Tcp" : "SharedMemory";
                         });

TEST_P(ProcessCollective, GivesEveryRankTheSumInRankOrderAndLeavesNothing) {
  const auto before = NamesIn("/dev/shm");
  for (const int ranks : {1, 2, 3, 4}) {
    RankProcesses processes(ranks, GetParam(), [](int, Collective& collective) {
      return Converse(collective, {0, 1, 37, 4096, 100'003, 1'000'001});
    });
    EXPECT_THAT(processes.Join(),
                Each(AllOf(Field(&RankResult::text, ""), Field(&RankResult::signal, 0))))
        << ranks << " ranks";
  }
  EXPECT_EQ(NamesIn("/dev/shm"), before);
}

TEST(ProcessCollectives, AllGiveTheSameBitsEveryTime) {
  std::set<std::string> digests;
  for (const Transport transport :
       {Transport::kBest, Transport::kTcp, Transport::kBest, Transport::kTcp}) {
    RankProcesses processes(3, transport, [](int rank, Collective& collective) {
      std::vector<float> values = InputOf<float>(rank, 1, 500'000);
      const Status status = collective.AllReduceSum(std::span<float>(values), absl::Seconds(60));
      return status.ok() ? Sha256(std::string_view(reinterpret_cast<const char*>(values.data()),
                                                   values.size() * sizeof(float)))
                         : status.ToString();
    });
    for (const RankResult& result : processes.Join()) digests.insert(result.text);
  }
  EXPECT_EQ(digests.size(), 1u) << testing::PrintToString(digests);
}

TEST_P(ProcessCollective, NamesAStoppedPeerAtTheDeadline) {
  RankProcesses processes(3, GetParam(), [](int rank, Collective& collective) -> std::string {
    for (int i = 0; i < 5; ++i)
      if (const Status status = AllReduce(collective, absl::Seconds(20)); !status.ok())
        return status.ToString();
    if (rank == 1) ::raise(SIGSTOP);
    return AllReduce(collective, absl::Milliseconds(rank == 0 ? 300 : 20'000)).ToString();
  });
  EXPECT_THAT(processes.Text(0),
              AllOf(StartsWith("DEADLINE_EXCEEDED: call 6 (all-reduce of 300000 float32)"),
                    HasSubstr("rank 1 did not arrive within 300ms; it has begun 5 calls")));
  EXPECT_THAT(processes.Text(2), HasSubstr("rank 0 waited in vain for rank 1 in its call 6"));
  ::kill(processes.pid(1), SIGCONT);
  EXPECT_THAT(processes.Text(1), HasSubstr("rank 0 waited in vain for rank 1 in its call 6"));
  processes.Join();
}

TEST_P(ProcessCollective, FreesTheOthersWhenAPeerIsKilled) {
  const auto before = NamesIn("/dev/shm");
  RankProcesses processes(3, GetParam(), [](int rank, Collective& collective) -> std::string {
    if (const Status status = AllReduce(collective, absl::Seconds(20)); !status.ok())
      return status.ToString();
    if (rank == 1) ::raise(SIGSTOP);  // until the test kills it, with the others asleep in the call
    const Status status = AllReduce(collective, absl::Seconds(30));
    return fmt::format("{} {}", Microseconds(), status.ToString());
  });
  int status = 0;
  ASSERT_EQ(::waitpid(processes.pid(1), &status, WUNTRACED), processes.pid(1));
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t killed_at = Microseconds();
  ::kill(processes.pid(1), SIGKILL);
  const std::vector<RankResult> results = processes.Join();
  EXPECT_EQ(results[1].signal, SIGKILL);
  for (const size_t rank : {0u, 2u}) {
    const std::string& text = results[rank].text;
    EXPECT_THAT(text, HasSubstr("ABORTED: call 2"));
    EXPECT_THAT(text, HasSubstr("rank 1 ended: its process is gone"));
    int64_t freed_at = 0;
    std::from_chars(text.data(), text.data() + text.size(), freed_at);
    EXPECT_LT(freed_at - killed_at, 100'000) << "microseconds";
  }
  EXPECT_EQ(NamesIn("/dev/shm"), before);
}

TEST_P(ProcessCollective, TellsEveryRankWhatTheyDisagreeAbout) {
  RankProcesses processes(2, GetParam(), [](int rank, Collective& collective) {
    std::vector<float> values(rank == 0 ? 10 : 11);
    return collective.AllReduceSum(std::span<float>(values), absl::Seconds(20)).ToString();
  });
  EXPECT_THAT(processes.Join(),
              Each(Field(&RankResult::text,
                         AllOf(StartsWith("INVALID_ARGUMENT: call 1"), HasSubstr("of 10 float32"),
                               HasSubstr("of 11 float32")))));
}

TEST_P(ProcessCollective, LetsARankLeaveWithoutDisturbingTheLastCall) {
  for (int round = 0; round < 5; ++round) {
    RankProcesses processes(3, GetParam(), [](int, Collective& collective) {
      return AllReduce(collective, absl::Seconds(20)).ToString();
    });
    EXPECT_THAT(processes.Join(), Each(Field(&RankResult::text, "OK")));
  }
}

}  // namespace
}  // namespace trainyard::worker

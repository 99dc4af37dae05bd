// What only happens over a network: peers that are not what they should be. The test itself is
// rank 1, on the bare ends of its connections.
#include "worker/parallel/tcp_collective.h"

#include <gmock/gmock.h>

#include <array>

#include "common/thread.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_checks.h"
#include "tests/worker/parallel/collective_kinds.h"
#include "tests/worker/parallel/rank_processes.h"
#include "worker/parallel/host_identity.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Field;
using testing::HasSubstr;

constexpr size_t kHeaderBytes = 32;

struct RankZero {
  RankZero() {
    auto data = ConnectedPairs(2), control = ConnectedPairs(2);
    data_peer = std::move(data[1][0]);
    control_peer = std::move(control[1][0]);
    collective = std::make_unique<TcpCollective>(std::move(data[0]), std::move(control[0]), 0);
  }
  Status Reduce(absl::Duration timeout = absl::Seconds(10)) const {
    std::vector<float> values(1'000'000, 1);
    return collective->AllReduceSum(std::span<float>(values), timeout);
  }
  // Answers the header of the call with the same header, as a peer in the same call does.
  void EchoHeader() const {
    std::array<char, kHeaderBytes> header;
    size_t had = 0;
    while (had < header.size()) {
      const ssize_t n = ::recv(data_peer.get(), header.data() + had, header.size() - had, 0);
      if (n > 0) had += static_cast<size_t>(n);
    }
    EXPECT_OK(WriteAll(data_peer.get(), std::string_view(header.data(), header.size()), "header"));
  }

  UniqueFd data_peer, control_peer;
  std::unique_ptr<Collective> collective;
};

TEST(TcpCollective, NamesAPeerWhoseBytesAreNoHeader) {
  RankZero rank;
  ASSERT_OK(WriteAll(rank.data_peer.get(), std::string(500, 'z'), "garbage"));
  EXPECT_THAT(rank.Reduce(),
              StatusIs(StatusCode::kAborted,
                       HasSubstr("rank 0 had bytes from rank 1 that are no message of ours")));
  EXPECT_THAT(rank.Reduce(), StatusIs(StatusCode::kAborted, HasSubstr("call 1")));
}

TEST(TcpCollective, NamesAPeerWhoseBytesAreNoControlMessage) {
  struct Message {  // as in control_lines.cc
    uint32_t magic, kind;
    uint64_t word;
  };
  constexpr uint32_t kMagic = 0x4C545254;
  const Message wrong[] = {{1, 1, AbortRecord{kTold, 1, 1, 1}.Pack()},
                           {kMagic, 3, 0},
                           {kMagic, 2, ~uint64_t{0}},
                           {kMagic, 1, AbortRecord{kTold, 0, 1, 1}.Pack()},
                           {kMagic, 1, AbortRecord{kLate, 1, 2, 1}.Pack()},
                           {kMagic, 1, 0}};
  for (const Message& message : wrong) {
    RankZero rank;
    const std::string_view bytes(reinterpret_cast<const char*>(&message), sizeof(message));
    ASSERT_OK(WriteAll(rank.control_peer.get(), bytes, "garbage"));
    EXPECT_THAT(rank.Reduce(),
                StatusIs(StatusCode::kAborted, HasSubstr("rank 1 that are no message of ours")));
  }
}

TEST(TcpCollective, NamesAPeerThatStopsInTheMiddleOfACall) {
  RankZero rank;
  Thread peer("peer", [&] { rank.EchoHeader(); });
  EXPECT_THAT(rank.Reduce(absl::Milliseconds(300)),
              StatusIs(StatusCode::kDeadlineExceeded,
                       HasSubstr("call 1 (all-reduce of 1000000 float32): rank 1 did not finish "
                                 "within 300ms; it has begun 1 calls")));
}

TEST(TcpCollective, SaysWhichConnectionBroke) {
  RankZero rank;
  Thread peer("peer", [&] {
    rank.EchoHeader();
    rank.data_peer.Close();
  });
  EXPECT_THAT(rank.Reduce(), StatusIs(StatusCode::kAborted, HasSubstr("connection to rank 1")));
}

TEST(TcpCollective, NoticesTheEndOfAPeerThatOwesNothing) {
  RankZero rank;
  ASSERT_OK(WriteAll(rank.control_peer.get(), "half", "half a message"));
  rank.control_peer.Close();
  EXPECT_THAT(rank.Reduce(), StatusIs(StatusCode::kAborted, HasSubstr("its process is gone")));
}

std::string KindOf(int, Collective& collective) {
  return collective.waits_for_network() ? "tcp" : "shared memory";
}

TEST(Connect, SharesMemoryOnOneHostUnlessTcpIsAskedFor) {
  EXPECT_THAT(RankProcesses(3, Transport::kBest, KindOf).Join(),
              Each(Field(&RankResult::text, "shared memory")));
  EXPECT_THAT(RankProcesses(3, Transport::kTcp, KindOf).Join(),
              Each(Field(&RankResult::text, "tcp")));
}

TEST(Connect, TakesTcpForAllWhenOneRankDoes) {
  std::vector<PeerListener> listeners;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < 3; ++rank) {
    ASSERT_OK_AND_ASSIGN(PeerListener listener, PeerListener::Open());
    addresses.push_back(listener.address());
    listeners.push_back(std::move(listener));
  }
  std::vector<std::string> troubles(3);
  std::vector<Thread> ranks;
  for (int rank = 0; rank < 3; ++rank)
    ranks.emplace_back("rank", [&, rank] {
      const auto r = static_cast<size_t>(rank);
      const auto collective =
          Connect(listeners[r], addresses, rank, "0123456789abcdef", absl::Seconds(20), {},
                  rank == 1 ? Transport::kTcp : Transport::kBest);
      troubles[r] = collective.ok() ? KindOf(rank, **collective) + Converse(**collective, {1000})
                                    : collective.status().ToString();
    });
  ranks.clear();
  EXPECT_THAT(troubles, Each("tcp"));
}

TEST(HostIdentity, IsTheSameForAllProcessesOfAHost) {
  EXPECT_THAT(HostIdentity(), testing::MatchesRegex("[0-9a-f]+"));
  const auto identities =
      RankProcesses(2, Transport::kBest, [](int, Collective&) { return HostIdentity(); }).Join();
  EXPECT_THAT(identities, Each(Field(&RankResult::text, HostIdentity())));
}

}  // namespace
}  // namespace trainyard::worker

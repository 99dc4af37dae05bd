// Collectives of both kinds between threads, for tests that run over both.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <vector>

#include "common/require.h"
#include "worker/parallel/tcp_collective.h"
#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {

enum class Kind { kSharedMemory, kTcp };

// A connection between every two of `ranks`: by rank, then by peer.
inline std::vector<std::vector<UniqueFd>> ConnectedPairs(int ranks) {
  const auto n = static_cast<size_t>(ranks);
  std::vector<std::vector<UniqueFd>> connections(n);
  for (auto& of_rank : connections) of_rank.resize(n);
  for (size_t a = 0; a < n; ++a)
    for (size_t b = a + 1; b < n; ++b) {
      int ends[2];
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
      connections[a][b] = UniqueFd(ends[0]);
      connections[b][a] = UniqueFd(ends[1]);
    }
  return connections;
}

// One per rank, in rank order. Each is used by one thread (Abort by any).
inline std::vector<std::unique_ptr<Collective>> MakeCollectives(Kind kind, int ranks) {
  if (kind == Kind::kSharedMemory) return MakeThreadCollectives(ranks);
  auto data = ConnectedPairs(ranks), control = ConnectedPairs(ranks);
  std::vector<std::unique_ptr<Collective>> collectives;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto r = static_cast<size_t>(rank);
    collectives.push_back(
        std::make_unique<TcpCollective>(std::move(data[r]), std::move(control[r]), rank));
  }
  return collectives;
}

class OverBothKinds : public testing::TestWithParam<Kind> {};

inline std::string KindName(const testing::TestParamInfo<Kind>& kind) {
  return kind.param == Kind::kTcp ? "Tcp" : "SharedMemory";
}

}  // namespace trainyard::worker

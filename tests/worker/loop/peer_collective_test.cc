#include "worker/loop/peer_collective.h"

#include <gmock/gmock.h>

#include <vector>

#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {
namespace {

TEST(PeerCollective, GivesEveryErrorTheReasonThatThePeerIsLost) {
  constexpr absl::Duration kShort = absl::Milliseconds(20);
  using Call = Status (*)(Collective&);
  for (const Call call : {
           Call([](Collective& c) { return c.Barrier(kShort); }),
           Call([](Collective& c) {
             std::vector<float> values(3);
             return c.AllReduceSum(std::span<float>(values), kShort);
           }),
           Call([](Collective& c) {
             std::vector<double> values(3);
             return c.AllReduceSum(std::span<double>(values), kShort);
           }),
           Call([](Collective& c) {
             std::vector<std::byte> piece(1), all(2);
             return c.AllGather(piece, all, kShort);
           }),
       }) {
    const auto ranks = MakeThreadCollectives(2);
    PeerCollective peers(ranks[0].get());
    const Status status = call(peers);  // the other rank never comes
    EXPECT_EQ(ReasonOf(status), kPeerLost) << status;
  }
}

}  // namespace
}  // namespace trainyard::worker

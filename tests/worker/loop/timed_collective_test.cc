#include "worker/loop/timed_collective.h"

#include <gmock/gmock.h>

#include <vector>

#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {
namespace {

TEST(TimedCollective, GivesEveryErrorTheReasonThatThePeerIsLost) {
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
    const SystemClock clock;
    const auto ranks = MakeThreadCollectives(2);
    TimedCollective timed(ranks[0].get(), &clock);
    const Status status = call(timed);  // the other rank never comes
    EXPECT_EQ(ReasonOf(status), kPeerLost) << status;
    EXPECT_GE(timed.Take(), kShort);
  }
}

}  // namespace
}  // namespace trainyard::worker

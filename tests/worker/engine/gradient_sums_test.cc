#include "worker/engine/gradient_sums.h"

#include <absl/synchronization/notification.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_checks.h"
#include "tests/worker/parallel/collective_kinds.h"

namespace trainyard::worker {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr absl::Duration kTime = absl::Seconds(20);

// From the end of the buffer down; the second and third are too small for calls of their own.
const std::vector<LayoutRange> kOrder = {
    {1'000'100, 300'000}, {1'000'000, 100}, {999'990, 10}, {500'000, 499'990}, {0, 500'000}};
constexpr int64_t kCount = 1'300'100;

// Runs `body` as each rank, on a thread of its own.
void OnRanks(Kind kind, int ranks, const std::function<void(int, Collective&)>& body) {
  auto collectives = MakeCollectives(kind, ranks);
  std::vector<Thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back("rank",
                         [&, rank] { body(rank, *collectives[static_cast<size_t>(rank)]); });
  threads.clear();
}

TEST(GradientSums, AreTheSumsInRankOrderHoweverTheyAreMade) {
  const std::vector<float> expected = SumOf<float>(3, 1, kCount);
  for (const Kind kind : {Kind::kSharedMemory, Kind::kTcp})
    for (const size_t begun_after : {0u, 2u, 5u}) {  // ranges; 5: only Finish sums
      OnRanks(kind, 3, [&](int rank, Collective& collective) {
        const std::vector<float> own = InputOf<float>(rank, 1, kCount);
        std::vector<float> gradients(own.size());
        GradientSums sums(gradients, kOrder);
        for (size_t range = 0; range < kOrder.size(); ++range) {
          if (range == begun_after) sums.Begin(&collective, kTime);
          const auto first = static_cast<ptrdiff_t>(kOrder[range].first);
          std::copy_n(own.begin() + first, kOrder[range].count, gradients.begin() + first);
          sums.Finished(range + 1);
        }
        EXPECT_OK(sums.Finish(&collective, kTime));
        EXPECT_EQ(gradients, expected);
        EXPECT_EQ(collective.sequence(), kind == Kind::kTcp ? 3 : 1);
      });
    }
}

TEST(GradientSums, SumWhatIsFinishedWhileTheRestIsNot) {
  OnRanks(Kind::kTcp, 2, [&](int rank, Collective& collective) {
    std::vector<float> gradients = InputOf<float>(rank, 1, kCount);
    GradientSums sums(gradients, kOrder);
    sums.Begin(&collective, kTime);
    sums.Finished(1);
    while (collective.sequence() < 1) std::this_thread::yield();  // it began without Finish
    sums.Finished(3);
    gradients[0] = 1;  // not finished yet
    EXPECT_OK(sums.Finish(&collective, kTime));
    EXPECT_EQ(gradients[0], 2);
  });
}

TEST(GradientSums, OfManyStepsFollowEachOther) {
  OnRanks(Kind::kTcp, 2, [&](int rank, Collective& collective) {
    std::vector<float> gradients(static_cast<size_t>(kCount));
    GradientSums sums(gradients, kOrder);
    for (uint64_t step = 0; step < 5; ++step) {
      std::ranges::copy(InputOf<float>(rank, step, kCount), gradients.begin());
      sums.Begin(&collective, kTime);
      sums.Finished(step);
      EXPECT_OK(sums.Finish(&collective, kTime));
      EXPECT_EQ(gradients, SumOf<float>(2, step, kCount)) << "step " << step;
    }
  });
}

TEST(GradientSums, OfOneRankAreItsOwn) {
  std::vector<float> gradients(static_cast<size_t>(kCount), 1);
  GradientSums sums(gradients, kOrder);
  sums.Begin(nullptr, kTime);
  sums.Finished(2);
  EXPECT_OK(sums.Finish(nullptr, kTime));
  EXPECT_THAT(gradients, Each(1));
}

TEST(GradientSums, TellOfAPeerThatLeavesInTheMiddleOfAStep) {
  OnRanks(Kind::kTcp, 2, [&](int rank, Collective& collective) {
    std::vector<float> gradients(static_cast<size_t>(kCount));
    GradientSums sums(gradients, kOrder);
    sums.Begin(&collective, kTime);
    sums.Finished(2);
    if (rank == 0) return;  // with its sums under way
    EXPECT_THAT(sums.Finish(&collective, kTime),
                StatusIs(StatusCode::kAborted, HasSubstr("rank 0 was told to stop")));
  });
}

TEST(GradientSums, NameTheRankThatDoesNotArrive) {
  absl::Notification over;
  OnRanks(Kind::kTcp, 2, [&](int rank, Collective& collective) {
    if (rank == 1) return over.WaitForNotification();
    std::vector<float> gradients(static_cast<size_t>(kCount));
    GradientSums sums(gradients, kOrder);
    EXPECT_THAT(sums.Finish(&collective, absl::Milliseconds(100)),
                StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("rank 1 did not arrive")));
    over.Notify();
  });
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/parallel/collective.h"

#include <gmock/gmock.h>

#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/thread.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_checks.h"
#include "tests/worker/parallel/collective_kinds.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

// Runs `body` as each rank; what each said.
template <class Result, class Body>
std::vector<Result> OnThreads(Kind kind, int ranks, Body body) {
  auto collectives = MakeCollectives(kind, ranks);
  std::vector<Result> results(static_cast<size_t>(ranks));
  std::vector<Thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back("rank", [&, rank] {
      results[static_cast<size_t>(rank)] = body(rank, *collectives[static_cast<size_t>(rank)]);
    });
  threads.clear();
  return results;
}

class CollectiveOf : public OverBothKinds {};

INSTANTIATE_TEST_SUITE_P(Kind, CollectiveOf, testing::Values(Kind::kSharedMemory, Kind::kTcp),
                         KindName);

TEST_P(CollectiveOf, GivesEveryRankTheSumInRankOrder) {
  for (const int ranks : {1, 2, 3, 4, 7})
    EXPECT_THAT(OnThreads<std::string>(GetParam(), ranks,
                                       [](int, Collective& collective) {
                                         return Converse(collective, {0, 1, 2, 31, 1000, 65537});
                                       }),
                Each(""))
        << ranks << " ranks";
}

TEST_P(CollectiveOf, SumsManyChunks) {
  EXPECT_THAT(OnThreads<std::string>(
                  GetParam(), 2,
                  [](int, Collective& collective) { return Converse(collective, {1'000'003}); }),
              Each(""));
}

TEST_P(CollectiveOf, ReducesAndScattersInPlace) {
  const auto results =
      OnThreads<std::vector<float>>(GetParam(), 2, [](int rank, Collective& collective) {
        std::vector<float> values = {1, 2, 3, 4};
        const std::span<float> piece(values.data() + 2 * rank, 2);
        EXPECT_OK(collective.ReduceScatterSum(values, piece, absl::Seconds(10)));
        return std::vector<float>(piece.begin(), piece.end());
      });
  EXPECT_THAT(results[0], testing::ElementsAre(2, 4));
  EXPECT_THAT(results[1], testing::ElementsAre(6, 8));
}

TEST_P(CollectiveOf, NamesBothSidesOfADisagreement) {
  struct Case {
    std::function<Status(int, Collective&)> call;
    const char* one;
    const char* other;
  };
  std::vector<float> five(5), six(6);
  std::vector<double> wide(5);
  const auto floats = [](Collective& c, std::vector<float>& values) {
    std::vector<float> copy = values;
    return c.AllReduceSum(std::span<float>(copy), absl::Seconds(10));
  };
  const Case cases[] = {
      {[&](int rank, Collective& c) { return floats(c, rank == 0 ? five : six); },
       "all-reduce of 5 float32", "all-reduce of 6 float32"},
      {[&](int rank, Collective& c) {
         return rank == 0 ? floats(c, five) : c.Barrier(absl::Seconds(10));
       },
       "all-reduce of 5 float32", "barrier"},
      {[&](int rank, Collective& c) {
         std::vector<double> copy = wide;
         return rank == 0 ? floats(c, five)
                          : c.AllReduceSum(std::span<double>(copy), absl::Seconds(10));
       },
       "all-reduce of 5 float32", "all-reduce of 5 float64"},
      {[&](int rank, Collective& c) {
         std::byte bytes[3];
         return c.Broadcast(bytes, rank == 2 ? 1 : 0, absl::Seconds(10));
       },
       "broadcast of 3 bytes from rank 0", "broadcast of 3 bytes from rank 1"},
  };
  for (const Case& wrong : cases)
    for (const int ranks : {2, 3}) {
      const auto results =
          OnThreads<Status>(GetParam(), ranks, [&](int rank, Collective& collective) {
            EXPECT_OK(collective.Barrier(absl::Seconds(10)));
            return wrong.call(rank, collective);
          });
      if (ranks == 2 && std::string(wrong.other).ends_with("rank 1")) continue;
      EXPECT_THAT(
          results,
          Each(StatusIs(StatusCode::kInvalidArgument,
                        AllOf(HasSubstr("call 2"), HasSubstr(wrong.one), HasSubstr(wrong.other)))));
    }
}

TEST_P(CollectiveOf, StaysUnusableAfterAnError) {
  auto ranks = MakeCollectives(GetParam(), 2);
  std::vector<float> values(4), piece(3);
  EXPECT_THAT(ranks[0]->ReduceScatterSum(values, piece, absl::Seconds(10)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("piece of 3")));
  EXPECT_THAT(ranks[0]->Barrier(absl::Seconds(10)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("piece of 3")));
  EXPECT_THAT(ranks[1]->Barrier(absl::Seconds(10)),
              StatusIs(StatusCode::kAborted, HasSubstr("rank 0 gave up")));
}

TEST_P(CollectiveOf, NamesTheRankThatDoesNotArrive) {
  auto ranks = MakeCollectives(GetParam(), 3);
  Thread other("rank", [&] { EXPECT_FALSE(ranks[2]->Barrier(absl::Seconds(10)).ok()); });
  EXPECT_THAT(ranks[0]->Barrier(absl::Milliseconds(50)),
              StatusIs(StatusCode::kDeadlineExceeded,
                       AllOf(HasSubstr("call 1 (barrier)"),
                             HasSubstr("rank 1 did not arrive within 50ms; it has begun 0"))));
  other.Join();  // freed by rank 0's giving up, long before its own deadline
  // Over a network the word of the others may come after their half of this call.
  Status late = ranks[1]->Barrier(absl::Seconds(10));
  if (late.ok()) late = ranks[1]->Barrier(absl::Seconds(10));
  EXPECT_THAT(late, StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("in vain for rank 1")));
}

TEST_P(CollectiveOf, IsFreedByAbortWithinATenthOfASecond) {
  for (const int aborter : {0, 1}) {  // its own, or its peer's
    auto ranks = MakeCollectives(GetParam(), 2);
    const SystemClock clock;
    absl::Duration freed_at;
    Status status;
    Thread blocked("rank", [&] {
      std::vector<float> values(100'000);
      status = ranks[0]->AllReduceSum(std::span<float>(values), absl::Seconds(30));
      freed_at = clock.Elapsed();
    });
    while (ranks[0]->sequence() == 0) std::this_thread::yield();
    absl::SleepFor(absl::Milliseconds(10));  // most likely asleep by now; it must not matter
    const absl::Duration aborted_at = clock.Elapsed();
    ranks[static_cast<size_t>(aborter)]->Abort();
    blocked.Join();
    EXPECT_LT(freed_at - aborted_at, absl::Milliseconds(100));
    EXPECT_THAT(status, StatusIs(StatusCode::kAborted,
                                 HasSubstr(fmt::format("rank {} was told to stop", aborter))));
  }
}

TEST_P(CollectiveOf, FinishesACallThatALeaverHasFinished) {
  for (int round = 0; round < 50; ++round) {
    auto ranks = MakeCollectives(GetParam(), 3);
    std::vector<Status> results(3);
    std::vector<Thread> threads;
    for (size_t rank = 0; rank < 3; ++rank)
      threads.emplace_back("rank", [&, rank] {
        std::vector<float> values(50'000, 1);
        results[rank] = ranks[rank]->AllReduceSum(std::span<float>(values), absl::Seconds(10));
        if (rank != 2) ranks[rank].reset();
      });
    threads.clear();
    EXPECT_THAT(results, Each(IsOk()));
    EXPECT_THAT(ranks[2]->Barrier(absl::Seconds(10)),
                StatusIs(StatusCode::kAborted, HasSubstr("closed its side after 1 calls")));
  }
}

}  // namespace
}  // namespace trainyard::worker

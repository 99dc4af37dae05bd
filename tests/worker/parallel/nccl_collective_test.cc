#include "worker/parallel/nccl_collective.h"

#include <absl/synchronization/notification.h>
#include <gmock/gmock.h>

#include <functional>
#include <thread>

#include "common/thread.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/parallel/collective_checks.h"
#include "tests/worker/parallel/fake_nccl.h"
#include "worker/parallel/thread_collective.h"

namespace trainyard::worker {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr absl::Duration kAmple = absl::Seconds(30);

// Ranks on threads, with the fake NCCL over the collective of threads.
class NcclRanks : public testing::Test {
 protected:
  struct Setup {
    std::vector<FakeNcclFaults> faults = {{}, {}};  // one per rank
    bool on_device = true;
    absl::Duration timeout = kAmple;  // of setting up
  };

  // Runs `body(rank, collective)` as each rank; what each said, or why it could not be set up.
  template <class Body>
  std::vector<Status> Run(const Setup& setup, Body body) {
    const auto ranks = static_cast<int>(setup.faults.size());
    world_ = std::make_unique<FakeNcclWorld>(ranks);
    aborts_.assign(setup.faults.size(), 0);
    auto hosts = MakeThreadCollectives(ranks);
    std::vector<Status> results(setup.faults.size());
    std::vector<Thread> threads;
    for (size_t rank = 0; rank < hosts.size(); ++rank) {
      threads.emplace_back("rank", [&, rank] {
        auto made =
            NcclCollective::Connect(std::move(hosts[rank]),
                                    std::make_unique<FakeNccl>(world_.get(), setup.faults[rank],
                                                               setup.on_device, &aborts_[rank]),
                                    &clock_, setup.timeout);
        results[rank] = made.ok() ? body(static_cast<int>(rank), **made) : made.status();
      });
    }
    threads.clear();
    return results;
  }

  static Status Sum(Collective& ranks, int64_t count, absl::Duration timeout = kAmple) {
    std::vector<float> values(static_cast<size_t>(count), 1);
    return ranks.AllReduceSum(std::span<float>(values), timeout);
  }

  const SystemClock clock_;
  std::unique_ptr<FakeNcclWorld> world_;
  std::vector<int> aborts_;
};

Status ConverseWell(Collective& ranks) {
  const std::string trouble = Converse(ranks, {0, 1, 2, 31, 1000});
  return trouble.empty() ? OkStatus() : Internal("{}", trouble);
}

TEST_F(NcclRanks, DoEveryCallOnTheDevice) {
  for (const size_t ranks : {1u, 2u, 3u}) {
    EXPECT_THAT(Run({.faults = std::vector<FakeNcclFaults>(ranks)},
                    [](int, Collective& collective) { return ConverseWell(collective); }),
                Each(IsOk()));
    // All but the sum of doubles and the barrier.
    EXPECT_EQ(world_->operations_begun(), static_cast<int64_t>(5 * 4 * ranks));
    EXPECT_THAT(aborts_, Each(1)) << "each communicator is freed once";
  }
}

TEST_F(NcclRanks, LeaveTheHostsMemoryToTheCollectiveUnderneath) {
  EXPECT_THAT(Run({.on_device = false},
                  [](int, Collective& collective) { return ConverseWell(collective); }),
              Each(IsOk()));
  EXPECT_EQ(world_->operations_begun(), 0);
}

TEST_F(NcclRanks, BeginNothingTheyDisagreeAbout) {
  using Call = std::function<Status(Collective&)>;
  const Call five = [](Collective& c) { return Sum(c, 5); };
  const Call six = [](Collective& c) { return Sum(c, 6); };
  const Call gather = [](Collective& c) {
    std::vector<std::byte> piece(5), all(5 * static_cast<size_t>(c.size()));
    return c.AllGather(piece, all, kAmple);
  };
  const auto from = [](int root) -> Call {
    return [root](Collective& c) {
      std::vector<std::byte> bytes(3);
      return c.Broadcast(bytes, root, kAmple);
    };
  };
  struct Case {
    Call first, second;
    const char* one;
    const char* other;
  };
  for (const Case& wrong : {Case{five, six, "all-reduce of 5 float32", "all-reduce of 6 float32"},
                            Case{five, gather, "all-reduce of 5 float32", "all-gather of 5 bytes"},
                            Case{from(0), from(1), "from rank 0", "from rank 1"}}) {
    EXPECT_THAT(
        Run({},
            [&](int rank, Collective& collective) {
              return rank == 0 ? wrong.first(collective) : wrong.second(collective);
            }),
        Each(StatusIs(StatusCode::kInvalidArgument,
                      AllOf(HasSubstr("call 1"), HasSubstr(wrong.one), HasSubstr(wrong.other)))));
    EXPECT_EQ(world_->operations_begun(), 0);
  }
}

TEST_F(NcclRanks, DisagreeAboutWhatComesFirstWithoutHanging) {
  // One sums on the device, the other waits at a barrier of the collective underneath.
  EXPECT_THAT(Run({},
                  [](int rank, Collective& collective) {
                    return rank == 0 ? Sum(collective, 5) : collective.Barrier(kAmple);
                  }),
              Each(StatusIs(StatusCode::kInvalidArgument, HasSubstr("barrier"))));
}

TEST_F(NcclRanks, NameTheOneThatDoesNotArrive) {
  absl::Notification gave_up;
  const auto results = Run({}, [&](int rank, Collective& collective) {
    if (rank == 0) {
      const Status status = Sum(collective, 5, absl::Milliseconds(50));
      gave_up.Notify();
      return status;
    }
    gave_up.WaitForNotification();
    return Sum(collective, 5);
  });
  EXPECT_THAT(results[0], StatusIs(StatusCode::kDeadlineExceeded,
                                   AllOf(HasSubstr("call 1 (all-reduce of 5 float32)"),
                                         HasSubstr("rank 1 did not arrive within 50ms"))));
  EXPECT_THAT(results[1], StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("in vain")));
  EXPECT_EQ(world_->operations_begun(), 0);
}

TEST_F(NcclRanks, EndWhenNcclReportsAnError) {
  const auto results = Run({.faults = {{}, {.async_error = kNcclRemoteError}}},
                           [](int, Collective& collective) { return Sum(collective, 5); });
  EXPECT_THAT(results[1], StatusIs(StatusCode::kAborted, HasSubstr("NCCL: result 6")));
  EXPECT_THAT(aborts_, Each(1));
}

TEST_F(NcclRanks, EndWhenNcclRefusesToBegin) {
  const auto results = Run({.faults = {{.begin = 4}, {.begin = 4}}},
                           [](int, Collective& collective) { return Sum(collective, 5); });
  EXPECT_THAT(results,
              Each(StatusIs(StatusCode::kInternal,
                            HasSubstr("call 1 (all-reduce of 5 float32): NCCL: result 4"))));
}

TEST_F(NcclRanks, AbortWorkThatHangsAtTheDeadline) {
  const auto results =
      Run({.faults = {{.work_hangs = true}, {.work_hangs = true}}},
          [](int, Collective& collective) { return Sum(collective, 5, absl::Milliseconds(60)); });
  EXPECT_THAT(results, Each(StatusIs(StatusCode::kDeadlineExceeded,
                                     HasSubstr("NCCL did not end it within"))));
  EXPECT_THAT(aborts_, Each(1));
}

TEST_F(NcclRanks, AreFreedByAbortWithinATenthOfASecond) {
  absl::Duration aborted_at, freed_at;
  const auto results = Run({.faults = {{.work_hangs = true}}}, [&](int, Collective& collective) {
    Thread aborter("aborter", [&] {
      while (world_->operations_begun() == 0) std::this_thread::yield();
      aborted_at = clock_.Elapsed();
      collective.Abort();
    });
    const Status status = Sum(collective, 5);
    freed_at = clock_.Elapsed();
    return status;
  });
  EXPECT_THAT(results[0], StatusIs(StatusCode::kAborted, HasSubstr("rank 0 was told to stop")));
  EXPECT_LT(freed_at - aborted_at, absl::Milliseconds(100));
}

TEST_F(NcclRanks, StayUnusableAfterAnError) {
  const auto results = Run({.faults = {{.begin = 4}}}, [](int, Collective& collective) {
    EXPECT_FALSE(Sum(collective, 5).ok());
    EXPECT_EQ(collective.sequence(), 1);
    return collective.Barrier(kAmple);
  });
  EXPECT_THAT(results[0], StatusIs(StatusCode::kInternal, HasSubstr("result 4")));
  EXPECT_THAT(aborts_, Each(1)) << "and it is not freed twice";
}

TEST_F(NcclRanks, SayWhyTheyCannotBeSetUp) {
  const auto nothing = [](int, Collective&) { return OkStatus(); };
  EXPECT_THAT(Run({.faults = {{.get_id = 3}, {}}}, nothing)[0],
              StatusIs(StatusCode::kInternal, HasSubstr("NCCL gives no id: result 3")));
  EXPECT_THAT(Run({.faults = {{.init = 5}, {.init = 5}}}, nothing),
              Each(StatusIs(StatusCode::kInternal, HasSubstr("cannot set up rank"))));
  EXPECT_THAT(Run({.faults = {{.init_hangs = true}, {.init_hangs = true}},
                   .timeout = absl::Milliseconds(60)},
                  nothing),
              Each(StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("setting up NCCL"))));
}

}  // namespace
}  // namespace trainyard::worker

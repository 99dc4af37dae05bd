#include "coordinator/scheduler/scheduler.h"

#include <gmock/gmock.h>

#include <map>
#include <string>

namespace trainyard::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr absl::Time kNoon = absl::FromUnixSeconds(1'700'000'000);

struct A {  // a worker
  explicit A(std::string name) { use.id = WorkerId{name}, use.host_id = name; }
  A& Slots(int n, std::string device = "cpu") {
    for (int i = 0; i < n; ++i) {
      SlotUse slot;
      slot.index = static_cast<int32_t>(use.slots.size());
      slot.device = device;
      use.slots.push_back(slot);
    }
    return *this;
  }
  A& Host(std::string host) { return use.host_id = host, *this; }
  A& Unreachable() { return use.unusable = "is unreachable", *this; }
  A& Used(int slot, double share, std::string by) {
    use.slots[slot].used += share;
    use.slots[slot].used_by.push_back(JobId{by});
    return *this;
  }
  WorkerUse use;
};

Cluster ClusterOf(std::vector<A> workers) {
  Cluster cluster;
  for (A& worker : workers) cluster.workers.push_back(worker.use);
  return cluster;
}

struct J {  // a waiting job
  explicit J(std::string name) { demand.job = JobId{name}, demand.ranks.resize(1); }
  J& Ranks(int n) { return demand.ranks.resize(n), *this; }
  J& Shares(std::vector<double> shares) {
    demand.ranks.clear();
    for (double share : shares) demand.ranks.push_back({"train", share});
    return *this;
  }
  J& Priority(int64_t p) { return demand.priority = p, *this; }
  J& Device(std::string d) { return demand.device = d, *this; }
  J& NotBefore(absl::Time t) { return demand.not_before = t, *this; }
  J& Recovers() { return demand.ran_before = true, *this; }
  J& Stopping() { return demand.stopping = true, *this; }
  Demand demand;
};

// Older first.
Queue QueueOf(std::vector<J> jobs) {
  Queue queue;
  int64_t age = 0;
  for (J& job : jobs) {
    job.demand.age = ++age;
    queue.insert(job.demand);
  }
  return queue;
}

std::vector<std::string> Started(const Decision& decision) {
  std::vector<std::string> names;
  for (const Placement& placement : decision.start) names.push_back(placement.job.value);
  return names;
}

std::vector<std::string> WorkersOf(const Placement& placement) {
  std::vector<std::string> names;
  for (const RankPlacement& rank : placement.ranks) names.push_back(rank.slot.worker.value);
  return names;
}

TEST(Schedule, StartsNoRankUntilAllOfThemFit) {
  const Cluster cluster = ClusterOf({A("a").Slots(2), A("b").Slots(1).Used(0, 1, "old")});
  const Decision decision = Schedule(kNoon, QueueOf({J("llm").Ranks(3)}), cluster);
  EXPECT_THAT(decision.start, IsEmpty());
  ASSERT_THAT(decision.waits, SizeIs(1));
  EXPECT_EQ(decision.waits[0].sentence, "3 cpu slots wanted, 2 free (a has 2); waits for old");
  EXPECT_EQ(decision.waits[0].code, "NO_FREE_SLOTS");
}

TEST(Schedule, GivesEveryRankItsOwnSlotInRankOrder) {
  const Decision decision =
      Schedule(kNoon, QueueOf({J("llm").Ranks(2)}), ClusterOf({A("a").Slots(1), A("b").Slots(1)}));
  ASSERT_THAT(Started(decision), ElementsAre("llm"));
  EXPECT_THAT(WorkersOf(decision.start[0]), ElementsAre("a", "b"));
  EXPECT_EQ(decision.start[0].ranks[1].rank, 1);
  EXPECT_EQ(decision.start[0].ranks[1].mesh.data, 1);
  EXPECT_EQ(decision.start[0].reason, "2 cpu slots on a, b");
}

TEST(Schedule, LargerPriorityFirstThenRecoveringThenOlder) {
  const Queue queue =
      QueueOf({J("old"), J("young"), J("urgent").Priority(5), J("recovers").Recovers()});
  EXPECT_THAT(Started(Schedule(kNoon, queue, ClusterOf({A("a").Slots(4)}))),
              ElementsAre("urgent", "recovers", "old", "young"));
}

TEST(Schedule, ALaterJobNeverOvertakesTheHeadOfItsDevice) {
  const Cluster cluster = ClusterOf({A("a").Slots(2).Used(0, 1, "x"), A("g").Slots(1, "cuda")});
  const Queue queue = QueueOf({J("big").Ranks(2), J("small"), J("on-gpu").Device("cuda")});
  EXPECT_THAT(Started(Schedule(kNoon, queue, cluster)), ElementsAre("on-gpu"));
}

TEST(Schedule, AJobLargerThanTheClusterHoldsUpNobody) {
  const Decision decision =
      Schedule(kNoon, QueueOf({J("huge").Ranks(8), J("small")}), ClusterOf({A("a").Slots(2)}));
  EXPECT_THAT(Started(decision), ElementsAre("small"));
  EXPECT_EQ(decision.waits[0].sentence,
            "8 cpu slots wanted, the cluster has 2: add workers or lower resources.ranks");
}

TEST(Schedule, AnUnreachableWorkerStillCountsAsClusterButTakesNoRank) {
  const Decision decision = Schedule(kNoon, QueueOf({J("two").Ranks(2), J("one")}),
                                     ClusterOf({A("a").Slots(1), A("b").Slots(1).Unreachable()}));
  EXPECT_THAT(decision.start, IsEmpty());
  EXPECT_EQ(decision.waits[0].sentence, "2 cpu slots wanted, 1 free (a has 1); b is unreachable");
}

TEST(Schedule, WithoutWorkersSaysHowToGetOne) {
  const Decision decision = Schedule(kNoon, QueueOf({J("llm")}), {});
  EXPECT_EQ(decision.waits.at(0).code, "NO_WORKERS");
}

TEST(Schedule, BackOffHoldsOnlyItsOwnJob) {
  const Queue queue = QueueOf({J("failed").NotBefore(kNoon + absl::Milliseconds(1500)), J("next")});
  const Cluster cluster = ClusterOf({A("a").Slots(1)});
  const Decision decision = Schedule(kNoon, queue, cluster);
  EXPECT_THAT(Started(decision), ElementsAre("next"));
  EXPECT_THAT(decision.waits[0].sentence, HasSubstr("may start in 2 s"));
  EXPECT_THAT(Started(Schedule(kNoon + absl::Seconds(2), queue, cluster)), ElementsAre("failed"));
}

TEST(Schedule, AJobWhoseRanksAreStillStoppingWaitsForThem) {
  const Decision decision =
      Schedule(kNoon, QueueOf({J("llm").Stopping()}), ClusterOf({A("a").Slots(4)}));
  EXPECT_THAT(decision.start, IsEmpty());
  EXPECT_EQ(decision.waits[0].code, "RANKS_STOPPING");
}

TEST(Schedule, SharesOfASlotSumToAtMostOne) {
  // 0.6 + 0.3 fill a's slot but for 0.1; 0.4 needs b.
  const Decision decision = Schedule(kNoon, QueueOf({J("rlhf").Shares({0.6, 0.3, 0.4})}),
                                     ClusterOf({A("a").Slots(1), A("b").Slots(1)}));
  ASSERT_THAT(decision.start, SizeIs(1));
  EXPECT_THAT(WorkersOf(decision.start[0]), ElementsAre("a", "a", "b"));
  // 0.3 + 0.3 + 0.4 = 1 exactly.
  EXPECT_THAT(Started(Schedule(kNoon, QueueOf({J("j").Shares({0.3, 0.3, 0.4})}),
                               ClusterOf({A("a").Slots(1)}))),
              ElementsAre("j"));
}

TEST(Schedule, TakesTheFewestWorkers) {
  const Decision decision =
      Schedule(kNoon, QueueOf({J("llm").Ranks(2)}),
               ClusterOf({A("a").Slots(1), A("b").Slots(4), A("c").Slots(2), A("d").Slots(1)}));
  // c holds both and is left with nothing; b would be left with 2.
  EXPECT_THAT(WorkersOf(decision.start.at(0)), ElementsAre("c", "c"));
}

TEST(Schedule, AmongEqualsStaysOnOneHost) {
  const Decision decision =
      Schedule(kNoon, QueueOf({J("llm").Ranks(2)}),
               ClusterOf({A("a").Slots(1).Host("h1"), A("b").Slots(1).Host("h2"),
                          A("c").Slots(1).Host("h1")}));
  EXPECT_THAT(WorkersOf(decision.start.at(0)), ElementsAre("a", "c"));
}

TEST(Schedule, SaysWhyAJobFarBehindWaits) {
  const Cluster cluster = ClusterOf({A("a").Slots(2).Used(0, 1, "x")});
  const Queue queue = QueueOf({J("big").Ranks(2), J("small")});
  const auto small = std::find_if(queue.begin(), queue.end(),
                                  [](const Demand& d) { return d.job.value == "small"; });
  const Wait why = WhyWaiting(kNoon, queue, cluster, *small);
  EXPECT_EQ(why.code, "BEHIND_OTHERS");
  EXPECT_EQ(why.sentence,
            "1 cpu slot wanted; big comes first (it is older) and waits for 2 cpu slots");
}

TEST(Schedule, ALongQueueBehindAFullClusterIsNotWalked) {
  Queue queue;
  for (int i = 0; i < 10'000; ++i) {
    Demand demand;
    demand.job = JobId{std::to_string(i)};
    demand.age = i;
    demand.ranks.resize(1);
    queue.insert(demand);
  }
  const Decision decision = Schedule(kNoon, queue, ClusterOf({A("a").Slots(1).Used(0, 1, "x")}));
  EXPECT_THAT(decision.waits, SizeIs(1));
}

}  // namespace
}  // namespace trainyard::coordinator

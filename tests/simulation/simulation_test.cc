#include "tests/simulation/simulation.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::simulation {
namespace {

constexpr uint64_t kSeeds = 1'000;
constexpr uint64_t kShards = 20;
constexpr int64_t kHappenedMin = 500;

// A shard of the seeds, so that ctest and --gtest_filter can run them apart.
class ThousandSeeds : public testing::TestWithParam<uint64_t> {};

TEST_P(ThousandSeeds, KeepEveryInvariant) {
  const uint64_t per_shard = kSeeds / kShards;
  int64_t succeeded = 0, jobs = 0;
  for (uint64_t i = 0; i < per_shard; ++i) {
    const uint64_t seed = GetParam() * per_shard + i + 1;
    const SimulationResult result = Simulation({.seed = seed}).Run();
    ASSERT_OK(result.status);
    ASSERT_GE(result.happened, kHappenedMin) << "seed " << seed;
    succeeded += result.succeeded;
    jobs += result.jobs;
  }
  // A cluster that fails or cancels everything would keep the invariants too.
  EXPECT_GT(succeeded * 2, jobs);
}

INSTANTIATE_TEST_SUITE_P(Simulation, ThousandSeeds, testing::Range<uint64_t>(0, kShards));

TEST(Simulation, WithoutTheFenceAStaleCheckpointIsBelievedWithin100Seeds) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const SimulationResult result = Simulation({.seed = seed, .check_fence = false}).Run();
    if (result.status.ok()) continue;
    EXPECT_THAT(MessageOf(result.status), testing::HasSubstr("is recorded for attempt"));
    EXPECT_THAT(MessageOf(result.status), testing::HasSubstr("seed "));
    return;
  }
  FAIL() << "100 seeds without the fence, and no invariant broke";
}

TEST(Simulation, ASeedIsARunThatCanBeRepeated) {
  const SimulationResult first = Simulation({.seed = 7}).Run();
  const SimulationResult again = Simulation({.seed = 7}).Run();
  const SimulationResult other = Simulation({.seed = 8}).Run();
  EXPECT_EQ(first.digest, again.digest);
  EXPECT_EQ(first.events, again.events);
  EXPECT_NE(first.digest, other.digest);
}

TEST(Simulation, EveryKindOfFaultOccurs) {
  std::map<std::string, int64_t> faults;
  int64_t last_checkpoints = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const SimulationResult result = Simulation({.seed = seed}).Run();
    for (const auto& [name, count] : result.faults) faults[name] += count;
    last_checkpoints += result.last_checkpoints;
  }
  EXPECT_GT(last_checkpoints, 0) << "cancels write a last checkpoint";
  for (const char* name : {"coordinator crash", "daemon crash", "host crash", "partition",
                           "trainer killed", "trainer stopped", "bad input", "bad network",
                           "slow disk", "cancel", "cancel now", "retry"}) {
    EXPECT_GT(faults[name], 0) << name;
  }
}

TEST(Simulation, WithoutFaultsEveryJobSucceedsInItsFirstAttempt) {
  SimulationOptions options{.seed = 3};
  options.faults_end = absl::ZeroDuration();
  const SimulationResult result = Simulation(options).Run();
  ASSERT_OK(result.status);
  EXPECT_EQ(result.succeeded, result.jobs);
  EXPECT_EQ(result.attempts, result.jobs);
}

}  // namespace
}  // namespace trainyard::simulation

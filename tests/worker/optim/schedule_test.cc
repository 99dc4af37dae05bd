// Values beside transformers 5.23's own lambdas (optimization.py), with 10 steps of which 2 warm
// up.
#include "worker/optim/schedule.h"

#include <gmock/gmock.h>

#include <vector>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

void ExpectRates(const Schedule& schedule, const std::vector<double>& expected) {
  for (size_t u = 0; u < expected.size(); ++u) {
    EXPECT_NEAR(schedule.LearningRate(static_cast<int64_t>(u)), schedule.peak * expected[u],
                1e-11 * schedule.peak)
        << "after " << u << " updates";
  }
}

TEST(Schedule, CosineWithAFloorIsTransformersCosineWithMinLr) {
  ExpectRates({.kind = ScheduleKind::kCosine,
               .peak = 3e-4,
               .min_lr_ratio = 0.1,
               .warmup_steps = 2,
               .max_steps = 10},
              {0.0, 0.5, 1.0, 0.96574578963, 0.868198051534, 0.722207544564, 0.55, 0.377792455436,
               0.231801948466, 0.13425421037});
}

TEST(Schedule, LinearWithoutAFloorIsTransformersLinear) {
  ExpectRates({.kind = ScheduleKind::kLinear, .peak = 2.0, .warmup_steps = 2, .max_steps = 10},
              {0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125});
}

TEST(Schedule, LinearKeepsItsFloor) {
  // t = u / 4; rate = (1 - t) * 0.8 + 0.2
  ExpectRates({.kind = ScheduleKind::kLinear, .peak = 1, .min_lr_ratio = 0.2, .max_steps = 4},
              {1.0, 0.8, 0.6, 0.4, 0.2});
}

TEST(Schedule, StaysAtThePeakAndThenDecaysAsTransformersWarmupStableDecay) {
  // The warmup is ours (from 0); from the peak on the values are transformers'.
  ExpectRates({.kind = ScheduleKind::kWarmupStableDecay,
               .peak = 1e-3,
               .min_lr_ratio = 0.1,
               .warmup_steps = 2,
               .decay_steps = 4,
               .max_steps = 10},
              {0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.868198051534, 0.55, 0.231801948466});
}

TEST(Schedule, ConstantWarmsUpAndStays) {
  ExpectRates({.kind = ScheduleKind::kConstant, .peak = 1, .warmup_steps = 4, .max_steps = 8},
              {0, 0.25, 0.5, 0.75, 1, 1, 1, 1});
}

TEST(Schedule, SurvivesAWarmupAsLongAsTheJobAndADecayLongerThanIt) {
  ExpectRates({.kind = ScheduleKind::kCosine, .peak = 1, .warmup_steps = 3, .max_steps = 3},
              {0, 1.0 / 3, 2.0 / 3});
  // The decay begins where the warmup ends: 1 step of warmup, 2 of decay.
  ExpectRates({.kind = ScheduleKind::kWarmupStableDecay,
               .peak = 1,
               .warmup_steps = 1,
               .decay_steps = 9,
               .max_steps = 3},
              {0, 1, 0.5});
}

TEST(Schedule, RefusesAnUnknownNameWithTheKnownOnes) {
  EXPECT_THAT(ScheduleKindFromName("cosin"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("warmup_stable_decay")));
  ASSERT_OK_AND_ASSIGN(const ScheduleKind kind, ScheduleKindFromName("linear"));
  EXPECT_EQ(kind, ScheduleKind::kLinear);
}

}  // namespace
}  // namespace trainyard::worker

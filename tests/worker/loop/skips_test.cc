#include "worker/loop/skips.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/support/status_matchers.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

StepReport Good() {
  StepReport report;
  report.step = 1;
  report.sums.loss_of_rank = {0.5};
  return report;
}

StepReport Skipped() {
  StepReport report;
  report.step = 7;
  report.sums.loss_of_rank = {1.0, std::numeric_limits<double>::quiet_NaN()};
  report.update.skipped = true;
  report.update.non_finite_in = "lm_head.weight";
  return report;
}

TEST(Skips, SayWhichTensorAndWhichRank) {
  EXPECT_EQ(WhatWasSkipped(Skipped()),
            "step 7: the gradient of lm_head.weight is not finite (loss nan on rank 1); the update "
            "is skipped");
}

TEST(Skips, EndTheJobAfterFiveInARow) {
  Skips skips;
  for (int i = 0; i < 4; ++i) EXPECT_OK(skips.Count(Skipped()));
  const Status fifth = skips.Count(Skipped());
  EXPECT_THAT(fifth, StatusIs(StatusCode::kInternal, HasSubstr("5 in a row and 5 in all")));
  EXPECT_EQ(ReasonOf(fifth), kLossNotFinite);
}

TEST(Skips, StartAnewAfterAGoodStepAndEndTheJobAfterTwenty) {
  Skips skips;
  for (int i = 0; i < 19; ++i) {
    EXPECT_OK(skips.Count(Skipped()));
    EXPECT_OK(skips.Count(Good()));
  }
  EXPECT_EQ(skips, (Skips{.total = 19, .in_a_row = 0}));
  EXPECT_THAT(skips.Count(Skipped()),
              StatusIs(StatusCode::kInternal, HasSubstr("1 in a row and 20 in all")));
}

}  // namespace
}  // namespace trainyard::worker

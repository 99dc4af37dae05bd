#include "worker/loop/precision.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

using testing::HasSubstr;

std::vector<Choice> Chosen(const std::string& value) {
  return {{.field = "train.other", .value = "7", .why = ""},
          {.field = kPrecisionField, .value = value, .why = "measured"}};
}

MATCHER_P(Is, precision, "") { return arg.ok() && *arg == precision; }

TEST(Precision, AutoIsWhatWasChosenForTheJobWhateverThisProcessorHas) {
  for (const bool multiplies_bfloat16 : {false, true}) {
    EXPECT_THAT(ResolvePrecision("auto", Device::kCpu, Chosen("bf16"), multiplies_bfloat16),
                Is(Precision::kBfloat16));
    EXPECT_THAT(ResolvePrecision("auto", Device::kCpu, Chosen("fp32"), multiplies_bfloat16),
                Is(Precision::kFloat32));
  }
}

TEST(Precision, AJobThatWasPreparedBeforeThereWereChoicesGoesByTheFlagsAsItBegan) {
  EXPECT_THAT(ResolvePrecision("auto", Device::kCpu, {}, true), Is(Precision::kBfloat16));
  EXPECT_THAT(ResolvePrecision("auto", Device::kCpu, {}, false), Is(Precision::kFloat32));
}

TEST(Precision, AutoIsBf16OnAGpu) {
  EXPECT_THAT(ResolvePrecision("auto", Device::kCuda, {}, false), Is(Precision::kBfloat16));
}

TEST(Precision, WhatIsAskedForIsUsed) {
  EXPECT_THAT(ResolvePrecision("bf16", Device::kCpu, Chosen("fp32"), false),
              Is(Precision::kBfloat16));
  EXPECT_THAT(ResolvePrecision("fp32", Device::kCpu, Chosen("bf16"), true),
              Is(Precision::kFloat32));
  EXPECT_THAT(ResolvePrecision("fp8", Device::kCpu, {}, true),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("train.precision")));
}

TEST(Precision, AChoiceThatIsNoneIsAnError) {
  EXPECT_THAT(ResolvePrecision("auto", Device::kCpu, Chosen("fp8"), true),
              StatusIs(StatusCode::kInternal, HasSubstr("fp8")));
}

}  // namespace
}  // namespace trainyard::worker

#include "worker/loop/precision.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

constexpr char kSapphireRapids[] =
    "processor\t: 0\nmodel name\t: x\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\nbogomips: 1\n";
constexpr char kMilan[] = "processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: avx512_bf16\n";

TEST(Precision, AutoIsBf16OnlyWhereTheProcessorMultipliesIt) {
  ASSERT_OK_AND_ASSIGN(Precision precision,
                       ResolvePrecision("auto", Device::kCpu, kSapphireRapids));
  EXPECT_EQ(precision, Precision::kBfloat16);
  ASSERT_OK_AND_ASSIGN(precision, ResolvePrecision("auto", Device::kCpu, kMilan));
  EXPECT_EQ(precision, Precision::kFloat32);
  ASSERT_OK_AND_ASSIGN(precision, ResolvePrecision("auto", Device::kCpu, ""));
  EXPECT_EQ(precision, Precision::kFloat32);
}

TEST(Precision, WhatIsAskedForIsUsed) {
  ASSERT_OK_AND_ASSIGN(Precision precision, ResolvePrecision("bf16", Device::kCpu, kMilan));
  EXPECT_EQ(precision, Precision::kBfloat16);
  ASSERT_OK_AND_ASSIGN(precision, ResolvePrecision("fp32", Device::kCpu, kSapphireRapids));
  EXPECT_EQ(precision, Precision::kFloat32);
  EXPECT_THAT(ResolvePrecision("fp8", Device::kCpu, ""),
              StatusIs(StatusCode::kInvalidArgument, testing::HasSubstr("train.precision")));
}

}  // namespace
}  // namespace trainyard::worker

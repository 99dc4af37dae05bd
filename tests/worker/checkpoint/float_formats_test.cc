#include "worker/checkpoint/float_formats.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

namespace trainyard::worker {
namespace {

TEST(Bfloat16, RoundsToNearestEven) {
  EXPECT_EQ(Bfloat16FromFloat(1.0f), 0x3F80);
  EXPECT_EQ(Bfloat16FromFloat(1.0f + 0x1p-8f), 0x3F80);            // half way: to even
  EXPECT_EQ(Bfloat16FromFloat(1.0f + 0x1p-7f + 0x1p-8f), 0x3F82);  // half way: to even
  EXPECT_EQ(Bfloat16FromFloat(1.0f + 0x1p-8f + 0x1p-20f), 0x3F81);
  EXPECT_EQ(Bfloat16FromFloat(-0.0f), 0x8000);
  EXPECT_EQ(Bfloat16FromFloat(std::numeric_limits<float>::max()), 0x7F80);  // to infinity
  EXPECT_EQ(Bfloat16FromFloat(std::numeric_limits<float>::quiet_NaN()), 0x7FC0);
}

TEST(Bfloat16, SurvivesTheWayThereAndBackForAllBits) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FloatFromBfloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(Bfloat16FromFloat(value), bits);
  }
}

TEST(Float16, ReadsNormalsSubnormalsAndSpecials) {
  EXPECT_EQ(FloatFromFloat16(0x3C00), 1.0f);
  EXPECT_EQ(FloatFromFloat16(0xC000), -2.0f);
  EXPECT_EQ(FloatFromFloat16(0x7BFF), 65504.0f);
  EXPECT_EQ(FloatFromFloat16(0x0400), 0x1p-14f);
  EXPECT_EQ(FloatFromFloat16(0x0001), 0x1p-24f);
  EXPECT_EQ(FloatFromFloat16(0x8001), -0x1p-24f);
  EXPECT_EQ(FloatFromFloat16(0x03FF), 1023 * 0x1p-24f);
  EXPECT_TRUE(std::signbit(FloatFromFloat16(0x8000)));
  EXPECT_EQ(FloatFromFloat16(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(FloatFromFloat16(0x7E00)));
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(Float16FromFloat(1.0f + 0x1p-11f), 0x3C00);             // half way: to even
  EXPECT_EQ(Float16FromFloat(1.0f + 0x1p-10f + 0x1p-11f), 0x3C02);  // half way: to even
  EXPECT_EQ(Float16FromFloat(1.0f + 0x1p-11f + 0x1p-20f), 0x3C01);
  EXPECT_EQ(Float16FromFloat(65519.0f), 0x7BFF);
  EXPECT_EQ(Float16FromFloat(65520.0f), 0x7C00);
  EXPECT_EQ(Float16FromFloat(-1e30f), 0xFC00);
  EXPECT_EQ(Float16FromFloat(0x1p-25f), 0x0000);  // half way to the smallest: to even
  EXPECT_EQ(Float16FromFloat(-0x1.8p-24f), 0x8002);
  EXPECT_EQ(Float16FromFloat(0x1.ffcp-15f), 0x0400);  // a subnormal that rounds up to a normal
  EXPECT_EQ(Float16FromFloat(-0.0f), 0x8000);
  EXPECT_EQ(Float16FromFloat(std::numeric_limits<float>::quiet_NaN()), 0x7E00);
}

TEST(Float16, SurvivesTheWayThereAndBackForAllBits) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FloatFromFloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(Float16FromFloat(value), bits);
  }
}

}  // namespace
}  // namespace trainyard::worker

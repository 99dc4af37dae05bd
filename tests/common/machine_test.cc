#include "common/machine.h"

#include <gtest/gtest.h>

namespace trainyard {
namespace {

TEST(Machine, ReadsMemInfo) {
  const char* meminfo = "MemTotal:       24579936 kB\nMemAvailable:   17 kB\n";
  EXPECT_EQ(MemInfoBytes(meminfo, "MemAvailable"), 17 * 1024);
  EXPECT_EQ(MemInfoBytes(meminfo, "MemTotal"), 24579936LL * 1024);
  EXPECT_EQ(MemInfoBytes(meminfo, "SwapFree"), -1);
}

TEST(Machine, FindsBfloat16AmongTheFlagsAlone) {
  EXPECT_TRUE(MultipliesBfloat16("x\nflags\t: fpu amx_bf16 sse\n"));
  EXPECT_TRUE(MultipliesBfloat16("x\nflags\t: avx512_bf16\n"));
  EXPECT_FALSE(MultipliesBfloat16("x\nflags\t: fpu avx512f\nbugs\t: amx_bf16\n"));
}

TEST(Machine, HasSomeMemory) {
  EXPECT_GT(AvailableMemoryBytes(), 0);
  EXPECT_GE(TotalMemoryBytes(), AvailableMemoryBytes());
}

}  // namespace
}  // namespace trainyard

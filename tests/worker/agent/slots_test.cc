#include "worker/agent/slots.h"

#include <gmock/gmock.h>

#include "tests/support/status_matchers.h"

namespace trainyard::worker {
namespace {

TEST(Slots, AHostWithoutNvmlHasCpuSharesOnly) {
  EXPECT_THAT(FindGpus("libno-such-nvml.so.1"),
              StatusIs(StatusCode::kNotFound, testing::HasSubstr("libno-such-nvml.so.1")));
  const auto slots = MakeSlots(2, "A CPU", {});
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[1].index, 1);
  EXPECT_EQ(slots[1].device, "cpu");
  EXPECT_EQ(slots[1].description, "A CPU, share 2 of 2");
  EXPECT_EQ(slots[1].cuda_device, "");
}

TEST(Slots, ALibraryThatIsNotNvmlIsRefused) {
  EXPECT_THAT(FindGpus("libm.so.6"),
              StatusIs(StatusCode::kUnavailable, testing::HasSubstr("nvmlInit_v2")));
}

TEST(Slots, GpusFollowTheCpuSharesAndAreNamedByUuid) {
  const auto slots = MakeSlots(1, "A CPU", {{"GPU-1f", "NVIDIA H200", int64_t{141} << 30}});
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[1].index, 1);
  EXPECT_EQ(slots[1].device, "cuda");
  EXPECT_EQ(slots[1].description, "NVIDIA H200, 141 GiB");
  EXPECT_EQ(slots[1].cuda_device, "GPU-1f");
}

TEST(Slots, TheCpuIsNamedFromProc) {
  EXPECT_EQ(CpuName("processor\t: 0\nmodel name\t: AMD EPYC 9334\nflags\t: x\n"), "AMD EPYC 9334");
  EXPECT_EQ(CpuName("processor : 0\nBogoMIPS : 50\n"), "CPU");
  EXPECT_EQ(CpuName("model name\n: no\n"), "CPU");
}

}  // namespace
}  // namespace trainyard::worker

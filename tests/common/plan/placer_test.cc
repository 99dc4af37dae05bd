#include "common/plan/placer.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace trainyard::plan {
namespace {

TEST(Placer, FillsTheLowestGapThatIsLargeEnough) {
  Placer placer;
  const int64_t a = placer.Take(100), b = placer.Take(1000), c = placer.Take(64);
  EXPECT_EQ(a, 0);
  EXPECT_EQ(b, 128);  // aligned
  EXPECT_EQ(c, 1152);
  placer.Give(b);
  EXPECT_EQ(placer.Take(2000), 1216);  // the gap is too small
  EXPECT_EQ(placer.Take(500), 128);
  EXPECT_EQ(placer.Take(400), 640);
  EXPECT_EQ(placer.end(), 3264);
}

TEST(Placer, ForgetsGapsAtItsEndAndRemembersHowHighItWas) {
  Placer placer;
  const int64_t a = placer.Take(64), b = placer.Take(64), c = placer.Take(64);
  placer.Give(b);
  EXPECT_EQ(placer.end(), 192);
  placer.Give(c);
  EXPECT_EQ(placer.end(), 64);
  placer.Give(a);
  EXPECT_EQ(placer.end(), 0);
  EXPECT_EQ(placer.high(), 192);
}

TEST(Placer, NeverHandsOutTheSameByteTwice) {
  std::mt19937 chance(5);
  Placer placer;
  std::map<int64_t, int64_t> taken;  // offset -> bytes
  for (int turn = 0; turn < 20'000; ++turn) {
    if (taken.empty() || (chance() % 5 < 3 && taken.size() < 200)) {
      const int64_t bytes = 1 + chance() % 5000;
      const int64_t offset = placer.Take(bytes);
      EXPECT_EQ(offset % Placer::kAlign, 0);
      const auto above = taken.lower_bound(offset);
      if (above != taken.end()) {
        ASSERT_LE(offset + bytes, above->first);
      }
      if (above != taken.begin()) {
        const auto below = std::prev(above);
        ASSERT_LE(below->first + below->second, offset);
      }
      taken[offset] = bytes;
      ASSERT_LE(offset + bytes, placer.end());
    } else {
      const auto any = std::next(taken.begin(), chance() % taken.size());
      placer.Give(any->first);
      taken.erase(any);
    }
  }
  for (const auto& [offset, bytes] : taken) placer.Give(offset);
  EXPECT_EQ(placer.end(), 0);
}

}  // namespace
}  // namespace trainyard::plan

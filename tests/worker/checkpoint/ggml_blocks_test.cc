// Blocks worked out by hand. That every bit equals the Python package's for random blocks is
// tests/golden/test_gguf_blocks.py.
#include "worker/checkpoint/ggml_blocks.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "common/rng.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/checkpoint/gguf_bytes.h"

namespace trainyard::worker {
namespace {

constexpr uint16_t kOne = 0x3C00, kHalf = 0x3800, kMinusTwo = 0xC000;  // float16

std::vector<float> Values(GgmlType type, const std::string& blocks) {
  const GgmlTypeRow& row = RowOf(type);
  std::vector<float> values(blocks.size() / static_cast<size_t>(row.block_bytes) *
                            static_cast<size_t>(row.block_values));
  DequantiseBlocks(type, std::as_bytes(std::span(blocks)), values);
  return values;
}
// `bytes` zeros, some of them set.
std::string Zeros(size_t bytes, const std::vector<std::pair<size_t, int>>& set = {}) {
  std::string text(bytes, '\0');
  for (const auto& [at, value] : set) text[at] = static_cast<char>(value);
  return text;
}

TEST(GgmlBlocks, SixteenBitFloats) {
  EXPECT_THAT(Values(GgmlType::kF16, Le(kHalf) + Le(kMinusTwo)), testing::ElementsAre(0.5f, -2.0f));
  EXPECT_THAT(Values(GgmlType::kBF16, Le(uint16_t{0x3F80}) + Le(uint16_t{0xC040})),
              testing::ElementsAre(1.0f, -3.0f));
}

TEST(GgmlBlocks, FourAndFiveBitsInBlocksOf32) {
  // Byte 3 is 0x2F: value 3 is 15, value 19 is 2.
  const auto q4_0 = Values(GgmlType::kQ4_0, Le(kHalf) + Zeros(16, {{3, 0x2F}}));
  EXPECT_EQ(q4_0[0], -4.0f);   // 0.5 (0 - 8)
  EXPECT_EQ(q4_0[3], 3.5f);    // 0.5 (15 - 8)
  EXPECT_EQ(q4_0[19], -3.0f);  // 0.5 (2 - 8)
  const auto q4_1 = Values(GgmlType::kQ4_1, Le(kHalf) + Le(kMinusTwo) + Zeros(16, {{3, 0x2F}}));
  EXPECT_EQ(q4_1[0], -2.0f);
  EXPECT_EQ(q4_1[3], 5.5f);
  EXPECT_EQ(q4_1[19], -1.0f);
  // Fifth bits of values 3 and 19.
  const std::string fifth = Zeros(4, {{0, 8}, {2, 8}});
  const auto q5_0 = Values(GgmlType::kQ5_0, Le(kHalf) + fifth + Zeros(16, {{3, 0x2F}}));
  EXPECT_EQ(q5_0[0], -8.0f);
  EXPECT_EQ(q5_0[3], 7.5f);   // 0.5 (31 - 16)
  EXPECT_EQ(q5_0[19], 1.0f);  // 0.5 (18 - 16)
  const auto q5_1 =
      Values(GgmlType::kQ5_1, Le(kHalf) + Le(kMinusTwo) + fifth + Zeros(16, {{3, 0x2F}}));
  EXPECT_EQ(q5_1[3], 13.5f);
  EXPECT_EQ(q5_1[19], 7.0f);
}

TEST(GgmlBlocks, EightBits) {
  const auto values = Values(GgmlType::kQ8_0, Le(kHalf) + Zeros(32, {{0, 127}, {31, -128}}) +
                                                  Le(kOne) + Zeros(32, {{1, -1}}));
  EXPECT_EQ(values[0], 63.5f);
  EXPECT_EQ(values[31], -64.0f);
  EXPECT_EQ(values[33], -1.0f);  // the second block
}

TEST(GgmlBlocks, SuperBlocksOf256) {
  // Sub-block 1: scale 3, min 5 (bytes 1, 5). Sub-block 6: scale 0x2A, min 0x13, whose low halves
  // are in byte 10 and whose top bits are in bytes 2 and 6.
  const std::string scales = Zeros(12, {{1, 3}, {5, 5}, {10, 0x3A}, {2, 0x80}, {6, 0x40}});
  const auto q4 = Values(GgmlType::kQ4_K,
                         Le(kHalf) + Le(kOne) + scales + Zeros(128, {{7, 0x90}, {96 + 2, 0x04}}));
  EXPECT_EQ(q4[32 + 7], 0.5f * 3 * 9 - 5);            // the high half of byte 7
  EXPECT_EQ(q4[6 * 32 + 2], 0.5f * 0x2A * 4 - 0x13);  // the low half of byte 98
  EXPECT_EQ(q4[0], 0.0f);
  const auto q5 =
      Values(GgmlType::kQ5_K, Le(kHalf) + Le(kOne) + scales + Zeros(32, {{7, 2}, {2, 64}}) +
                                  Zeros(128, {{7, 0x90}, {96 + 2, 0x04}}));
  EXPECT_EQ(q5[32 + 7], 0.5f * 3 * 25 - 5);
  EXPECT_EQ(q5[6 * 32 + 2], 0.5f * 0x2A * 20 - 0x13);
  // Value 128 + 2 x 32 + 5: the high half of low byte 69, bits 4 and 5 of top byte 37, scale 12.
  const auto q6 = Values(GgmlType::kQ6_K, Zeros(128, {{69, 0x70}}) + Zeros(64, {{37, 0x20}}) +
                                              Zeros(16, {{12, -3}, {0, 1}}) + Le(kHalf));
  EXPECT_EQ(q6[197], 0.5f * -3 * (0x27 - 32));
  EXPECT_EQ(q6[0], 0.5f * -32);
}

std::vector<float> ThereAndBack(GgmlType type, const std::vector<float>& values) {
  const GgmlTypeRow& row = RowOf(type);
  std::string blocks(
      values.size() / static_cast<size_t>(row.block_values) * static_cast<size_t>(row.block_bytes),
      '\0');
  EXPECT_OK(QuantiseBlocks(type, values, std::as_writable_bytes(std::span(blocks))));
  return Values(type, blocks);
}

std::vector<float> NormalValues(size_t n) {
  const Rng rng{5, Purpose::kInit};
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(rng.Normal(0, i));
  return values;
}

TEST(GgmlBlocks, SuperBlocksHoldAgainWhatASuperBlockHeld) {
  const Rng rng{9, Purpose::kInit};
  for (uint64_t turn = 0; turn < 50; ++turn) {
    const auto draw = [&](uint64_t index, uint64_t n) {
      return static_cast<int>(rng.Below(n, turn, index));
    };
    std::vector<float> q4(256), q6(256);
    for (int i = 0; i < 256; ++i) {
      // A scale and a minimum for 32 values; the first has the largest of both, every one both
      // ends.
      const auto s = static_cast<uint64_t>(i / 32);
      const int scale = s == 0 ? 63 : 1 + draw(1000 + s, 63),
                min = s == 0 ? 63 : draw(2000 + s, 64);
      const int q = i % 32 == 0 ? 0 : i % 32 == 1 ? 15 : draw(static_cast<uint64_t>(i), 16);
      q4[static_cast<size_t>(i)] =
          0.5f * static_cast<float>(scale * q) - 0.25f * static_cast<float>(min);
      const auto t = static_cast<uint64_t>(i / 16);
      const int signed_scale = t == 0 ? -128 : draw(3000 + t, 255) - 127;
      const int level = i % 16 == 0 ? -32 : draw(static_cast<uint64_t>(4000 + i), 64) - 32;
      q6[static_cast<size_t>(i)] = 0.125f * static_cast<float>(signed_scale * level);
    }
    EXPECT_EQ(ThereAndBack(GgmlType::kQ4_K, q4), q4) << turn;
    EXPECT_EQ(ThereAndBack(GgmlType::kQ6_K, q6), q6) << turn;
  }
}

TEST(GgmlBlocks, MoreBitsLoseLess) {
  const std::vector<float> values = NormalValues(256 * 64);
  double last = 1e30;
  for (const GgmlType type : {GgmlType::kQ4_0, GgmlType::kQ4_K, GgmlType::kQ5_0, GgmlType::kQ6_K,
                              GgmlType::kQ8_0, GgmlType::kF16, GgmlType::kF32}) {
    const std::vector<float> back = ThereAndBack(type, values);
    double error = 0;
    for (size_t i = 0; i < values.size(); ++i)
      error += (back[i] - values[i]) * (back[i] - values[i]);
    EXPECT_LT(error, last) << RowOf(type).name;
    last = error;
  }
  EXPECT_EQ(last, 0);
}

TEST(GgmlBlocks, ZerosAndTinyValuesStayFinite) {
  for (const GgmlType type :
       {GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ8_0, GgmlType::kQ4_K, GgmlType::kQ6_K}) {
    EXPECT_EQ(ThereAndBack(type, std::vector<float>(256, 0.0f)), std::vector<float>(256, 0.0f));
    std::vector<float> tiny(256, 1e-42f);
    tiny[7] = -1e-40f;
    for (const float value : ThereAndBack(type, tiny)) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
}  // namespace trainyard::worker

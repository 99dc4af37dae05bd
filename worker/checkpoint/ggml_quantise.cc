#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/require.h"
#include "worker/checkpoint/float_formats.h"
#include "worker/checkpoint/ggml_blocks.h"
#include "worker/checkpoint/ggml_quantise_k.h"

// Built with -ffp-contract=off, as ggml_blocks.cc.
namespace trainyard::worker {
namespace {

constexpr uint16_t kHalfInfinity = 0x7C00;

void Put16(uint16_t bits, uint8_t* out) { std::memcpy(out, &bits, 2); }

// Each writes a block and says whether its float16s stayed finite. The values are finite.
bool ToF32(const float* values, uint8_t* block) {
  std::memcpy(block, values, 4);
  return true;
}
bool ToHalf(float value, uint8_t* block) {
  const uint16_t bits = Float16FromFloat(value);
  Put16(bits, block);
  return (bits & kHalfInfinity) != kHalfInfinity;
}
bool ToBF16(const float* values, uint8_t* block) {
  const uint16_t bits = Bfloat16FromFloat(*values);
  Put16(bits, block);
  return (bits & 0x7F80) != 0x7F80;
}

// 1 / d, or 0 where d is 0 or so small that its float16 is.
float Inverse(float d) {
  const float inverse = d == 0 ? 0.0f : 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// d = the largest magnitude / 127; q = value / d, rounded half away from zero.
bool ToQ8_0(const float* values, uint8_t* block) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float d = largest / 127.0f;
  const float inverse = Inverse(d);
  for (int i = 0; i < 32; ++i)
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(values[i] * inverse)));
  return ToHalf(d, block);
}

// The value of the largest magnitude, the first of several.
float Largest(const float* values) {
  return *std::max_element(values, values + 32,
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

// d = the largest / -8, so that this one becomes 0; q = value / d + 8.5, cut.
bool ToQ4_0(const float* values, uint8_t* block) {
  const float d = Largest(values) / -8.0f;
  const float inverse = Inverse(d);
  const auto quantise = [&](float value) {
    return std::min(15, static_cast<int>(value * inverse + 8.5f));
  };
  for (int i = 0; i < 16; ++i)
    block[2 + i] = static_cast<uint8_t>(quantise(values[i]) | (quantise(values[i + 16]) << 4));
  return ToHalf(d, block);
}

// The same with 32 levels: d = the largest / -16; the fifth bit of value i is bit i of 4 bytes.
bool ToQ5_0(const float* values, uint8_t* block) {
  const float d = Largest(values) / -16.0f;
  const float inverse = Inverse(d);
  std::memset(block + 2, 0, 20);
  for (int i = 0; i < 32; ++i) {
    const int q = std::min(31, static_cast<int>(values[i] * inverse + 16.5f));
    block[6 + i % 16] |= static_cast<uint8_t>((q & 15) << (i < 16 ? 0 : 4));
    block[2 + i / 8] |= static_cast<uint8_t>((q >> 4) << (i % 8));
  }
  return ToHalf(d, block);
}

template <class ToBlock>
Status ForEachBlock(const GgmlTypeRow& row, std::span<const float> values,
                    std::span<std::byte> blocks, ToBlock to_block) {
  auto* out = reinterpret_cast<uint8_t*>(blocks.data());
  bool all_fit = true;
  for (size_t done = 0; done < values.size(); done += static_cast<size_t>(row.block_values)) {
    all_fit &= to_block(values.data() + done, out);
    out += row.block_bytes;
  }
  if (all_fit) return OkStatus();
  return InvalidArgument("a value is too large for {}", row.name);
}

}  // namespace

Status QuantiseBlocks(GgmlType type, std::span<const float> values, std::span<std::byte> blocks) {
  const GgmlTypeRow& row = RowOf(type);
  const auto count = static_cast<int64_t>(values.size());
  REQUIRE(count % row.block_values == 0 &&
          static_cast<int64_t>(blocks.size()) == count / row.block_values * row.block_bytes);
  for (const float value : values)
    if (!std::isfinite(value)) return InvalidArgument("a value is {}", value);
  const auto each = [&](auto to_block) { return ForEachBlock(row, values, blocks, to_block); };
  switch (type) {
    case GgmlType::kF32:
      return each([](const float* v, uint8_t* b) { return ToF32(v, b); });
    case GgmlType::kF16:
      return each([](const float* v, uint8_t* b) { return ToHalf(*v, b); });
    case GgmlType::kBF16:
      return each([](const float* v, uint8_t* b) { return ToBF16(v, b); });
    case GgmlType::kQ8_0:
      return each([](const float* v, uint8_t* b) { return ToQ8_0(v, b); });
    case GgmlType::kQ4_0:
      return each([](const float* v, uint8_t* b) { return ToQ4_0(v, b); });
    case GgmlType::kQ5_0:
      return each([](const float* v, uint8_t* b) { return ToQ5_0(v, b); });
    case GgmlType::kQ4_K:
      return each([](const float* v, uint8_t* b) { return QuantiseQ4_K(v, b); });
    case GgmlType::kQ6_K:
      return each([](const float* v, uint8_t* b) { return QuantiseQ6_K(v, b); });
    default:
      return Unimplemented("weights are read, but not written, as {}", row.name);
  }
}

}  // namespace trainyard::worker

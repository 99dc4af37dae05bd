#include "worker/checkpoint/ggml_blocks.h"

#include <cstdint>
#include <cstring>

#include "common/require.h"
#include "worker/checkpoint/float_formats.h"

// Built with -ffp-contract=off: a fused d * q + m would round once where the reference rounds
// twice.
namespace trainyard::worker {
namespace {

uint16_t Bits16(const uint8_t* bytes) {
  return static_cast<uint16_t>(bytes[0] | (uint16_t{bytes[1]} << 8));
}
float Half(const uint8_t* bytes) { return FloatFromFloat16(Bits16(bytes)); }

void FromF32(const uint8_t* block, float* values) { std::memcpy(values, block, 4); }
void FromF16(const uint8_t* block, float* values) { *values = Half(block); }
void FromBF16(const uint8_t* block, float* values) { *values = FloatFromBfloat16(Bits16(block)); }

// d, 16 bytes of two 4-bit numbers: value = d (q - 8).
void FromQ4_0(const uint8_t* block, float* values) {
  const float d = Half(block);
  for (int i = 0; i < 16; ++i) {
    values[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    values[i + 16] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

// d, m, 16 bytes: value = d q + m.
void FromQ4_1(const uint8_t* block, float* values) {
  const float d = Half(block), m = Half(block + 2);
  for (int i = 0; i < 16; ++i) {
    values[i] = d * static_cast<float>(block[4 + i] & 15) + m;
    values[i + 16] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

// The fifth bit of value i of a block of 32 is bit i of 4 bytes.
int FifthBit(const uint8_t* bytes, int i) { return ((bytes[i / 8] >> (i % 8)) & 1) << 4; }

// d, 4 bytes of fifth bits, 16 bytes: value = d (q - 16).
void FromQ5_0(const uint8_t* block, float* values) {
  const float d = Half(block);
  for (int i = 0; i < 16; ++i) {
    const int low = (block[6 + i] & 15) | FifthBit(block + 2, i);
    const int high = (block[6 + i] >> 4) | FifthBit(block + 2, i + 16);
    values[i] = d * static_cast<float>(low - 16);
    values[i + 16] = d * static_cast<float>(high - 16);
  }
}

// d, m, 4 bytes of fifth bits, 16 bytes: value = d q + m.
void FromQ5_1(const uint8_t* block, float* values) {
  const float d = Half(block), m = Half(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int low = (block[8 + i] & 15) | FifthBit(block + 4, i);
    const int high = (block[8 + i] >> 4) | FifthBit(block + 4, i + 16);
    values[i] = d * static_cast<float>(low) + m;
    values[i + 16] = d * static_cast<float>(high) + m;
  }
}

// d, 32 signed bytes: value = q d.
void FromQ8_0(const uint8_t* block, float* values) {
  const float d = Half(block);
  for (int i = 0; i < 32; ++i)
    values[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

// The 6-bit scale and minimum of sub-block s (of 8), packed into 12 bytes: the first four of each
// in the low 6 bits of bytes 0..3 and 4..7, whose top two bits are those of the last four; the rest
// of these lies in the halves of bytes 8..11.
struct ScaleAndMin {
  int scale = 0, min = 0;
};
ScaleAndMin UnpackScale(const uint8_t* packed, int s) {
  if (s < 4) return {packed[s] & 63, packed[s + 4] & 63};
  return {(packed[s + 4] & 15) | ((packed[s - 4] >> 2) & 48),
          (packed[s + 4] >> 4) | ((packed[s] >> 2) & 48)};
}

// d, dmin, 12 bytes of scales, 128 bytes: 8 sub-blocks of 32; value = (d scale) q - (dmin min).
void FromQ4_K(const uint8_t* block, float* values) {
  const float d = Half(block), dmin = Half(block + 2);
  for (int s = 0; s < 8; ++s) {
    const auto [scale, min] = UnpackScale(block + 4, s);
    const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(min);
    const uint8_t* q = block + 16 + 32 * (s / 2);
    for (int i = 0; i < 32; ++i)
      values[32 * s + i] = step * static_cast<float>((q[i] >> (4 * (s % 2))) & 15) - offset;
  }
}

// As Q4_K, with 32 bytes of fifth bits (bit s of byte i) before the 128.
void FromQ5_K(const uint8_t* block, float* values) {
  const float d = Half(block), dmin = Half(block + 2);
  const uint8_t* fifth = block + 16;
  for (int s = 0; s < 8; ++s) {
    const auto [scale, min] = UnpackScale(block + 4, s);
    const float step = d * static_cast<float>(scale), offset = dmin * static_cast<float>(min);
    const uint8_t* q = block + 48 + 32 * (s / 2);
    for (int i = 0; i < 32; ++i) {
      const int number = ((q[i] >> (4 * (s % 2))) & 15) | (((fifth[i] >> s) & 1) << 4);
      values[32 * s + i] = step * static_cast<float>(number) - offset;
    }
  }
}

// 128 bytes of low halves, 64 of top two bits, 16 signed scales, d: value = (d scale) (q - 32), a
// scale for 16 values. Each half of the block is 4 runs of 32.
void FromQ6_K(const uint8_t* block, float* values) {
  const float d = Half(block + 208);
  for (int run = 0; run < 8; ++run) {
    const uint8_t* low = block + 64 * (run / 4) + 32 * (run % 2);
    const uint8_t* top = block + 128 + 32 * (run / 4);
    for (int i = 0; i < 32; ++i) {
      const int at = 32 * run + i;
      const float step = d * static_cast<float>(static_cast<int8_t>(block[192 + at / 16]));
      const int number =
          ((low[i] >> (4 * (run % 4 / 2))) & 15) | (((top[i] >> (2 * (run % 4))) & 3) << 4);
      values[at] = step * static_cast<float>(number - 32);
    }
  }
}

template <class FromBlock>
void ForEachBlock(const GgmlTypeRow& row, std::span<const std::byte> blocks,
                  std::span<float> values, FromBlock from_block) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(blocks.data());
  float* out = values.data();
  for (size_t done = 0; done < blocks.size(); done += static_cast<size_t>(row.block_bytes)) {
    from_block(bytes + done, out);
    out += row.block_values;
  }
}

}  // namespace

void DequantiseBlocks(GgmlType type, std::span<const std::byte> blocks, std::span<float> values) {
  const GgmlTypeRow& row = RowOf(type);
  const auto count = static_cast<int64_t>(values.size());
  REQUIRE(count % row.block_values == 0 &&
          static_cast<int64_t>(blocks.size()) == count / row.block_values * row.block_bytes);
  const auto each = [&](auto from_block) { ForEachBlock(row, blocks, values, from_block); };
  switch (type) {
    case GgmlType::kF32:
      return each([](const uint8_t* b, float* v) { FromF32(b, v); });
    case GgmlType::kF16:
      return each([](const uint8_t* b, float* v) { FromF16(b, v); });
    case GgmlType::kBF16:
      return each([](const uint8_t* b, float* v) { FromBF16(b, v); });
    case GgmlType::kQ4_0:
      return each([](const uint8_t* b, float* v) { FromQ4_0(b, v); });
    case GgmlType::kQ4_1:
      return each([](const uint8_t* b, float* v) { FromQ4_1(b, v); });
    case GgmlType::kQ5_0:
      return each([](const uint8_t* b, float* v) { FromQ5_0(b, v); });
    case GgmlType::kQ5_1:
      return each([](const uint8_t* b, float* v) { FromQ5_1(b, v); });
    case GgmlType::kQ8_0:
      return each([](const uint8_t* b, float* v) { FromQ8_0(b, v); });
    case GgmlType::kQ4_K:
      return each([](const uint8_t* b, float* v) { FromQ4_K(b, v); });
    case GgmlType::kQ5_K:
      return each([](const uint8_t* b, float* v) { FromQ5_K(b, v); });
    case GgmlType::kQ6_K:
      return each([](const uint8_t* b, float* v) { FromQ6_K(b, v); });
  }
}

}  // namespace trainyard::worker

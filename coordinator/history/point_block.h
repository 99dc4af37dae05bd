// The metric file's unit: the points of one report of one rank, in columns, with a checksum.
//
//   u32 magic "TYP1"   u32 payload bytes   u32 CRC-32C of the payload   payload:
//   i32 attempt  i32 rank  u32 names  u32 points
//   names x {u16 length, bytes}, points x i64 step, points x u16 name, points x f64 value,
//   points x f64 seconds since 1970; all little-endian
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/ids.h"

namespace trainyard::coordinator {

struct Point {
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  int64_t step = 0;
  std::string name;
  double value = 0;
  double wall_time = 0;  // seconds since 1970
  bool operator==(const Point&) const = default;
};

inline constexpr size_t kBlockHeaderBytes = 12;
inline constexpr size_t kMaxBlockPoints = 4096;
inline constexpr size_t kMaxPointName = 200;
inline constexpr size_t kMaxBlockPayload = size_t{2} << 20;

// At most kMaxBlockPoints points of one attempt and rank with names of at most kMaxPointName bytes.
std::string EncodeBlock(const std::vector<Point>& points);

enum class BlockState {
  kGood,
  kTorn,     // the bytes end within it, or do not begin one
  kDamaged,  // whole, but its checksum or contents are wrong
};

// Reads the block at the beginning of `bytes`; `size` is what it takes there (0 when torn). Points
// are appended to `points` when it is good.
BlockState DecodeBlock(std::string_view bytes, size_t* size, std::vector<Point>* points);

}  // namespace trainyard::coordinator

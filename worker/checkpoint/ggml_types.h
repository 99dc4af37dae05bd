// The element types of a GGUF file's tensors, numbered as in files (ggml's enum ggml_type,
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Most are blocks: some values share a
// scale, and a row is a whole number of blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trainyard::worker {

enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTypeRow {
  GgmlType type = GgmlType::kF32;
  std::string_view name;
  int64_t block_values = 1;
  int64_t block_bytes = 4;
};

// The row of a type that we read.
const GgmlTypeRow& RowOf(GgmlType type);
// The type of that number; nothing when we do not read it.
std::optional<GgmlType> GgmlTypeFromNumber(uint32_t number);
// ggml's name for any number it knows, read by us or not; empty for others.
std::string_view NameOfGgmlNumber(uint32_t number);
// "F32, F16, Q4_0, ...": those we read.
std::string NamesOfGgmlTypes();

}  // namespace trainyard::worker

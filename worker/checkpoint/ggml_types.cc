#include "worker/checkpoint/ggml_types.h"

#include <algorithm>
#include <array>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr std::array<GgmlTypeRow, 11> kRows = {{{GgmlType::kF32, "F32", 1, 4},
                                                {GgmlType::kF16, "F16", 1, 2},
                                                {GgmlType::kBF16, "BF16", 1, 2},
                                                {GgmlType::kQ4_0, "Q4_0", 32, 18},
                                                {GgmlType::kQ4_1, "Q4_1", 32, 20},
                                                {GgmlType::kQ5_0, "Q5_0", 32, 22},
                                                {GgmlType::kQ5_1, "Q5_1", 32, 24},
                                                {GgmlType::kQ8_0, "Q8_0", 32, 34},
                                                {GgmlType::kQ4_K, "Q4_K", 256, 144},
                                                {GgmlType::kQ5_K, "Q5_K", 256, 176},
                                                {GgmlType::kQ6_K, "Q6_K", 256, 210}}};

// Holes are numbers that ggml has given up.
constexpr std::array<std::string_view, 43> kNames = {
    "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
    "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
    "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
    "",        "",      "",       "MXFP4", "NVFP4", "Q1_0",   "Q2_0"};

}  // namespace

const GgmlTypeRow& RowOf(GgmlType type) {
  const auto row = std::find_if(kRows.begin(), kRows.end(),
                                [&](const GgmlTypeRow& row) { return row.type == type; });
  REQUIRE(row != kRows.end());
  return *row;
}

std::optional<GgmlType> GgmlTypeFromNumber(uint32_t number) {
  for (const GgmlTypeRow& row : kRows)
    if (static_cast<uint32_t>(row.type) == number) return row.type;
  return std::nullopt;
}

std::string_view NameOfGgmlNumber(uint32_t number) {
  return number < kNames.size() ? kNames[number] : std::string_view();
}

std::string NamesOfGgmlTypes() {
  std::string names;
  for (const GgmlTypeRow& row : kRows) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

}  // namespace trainyard::worker

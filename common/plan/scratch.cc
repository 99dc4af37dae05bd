#include "common/plan/scratch.h"

#include <algorithm>

namespace trainyard::plan {
namespace {

constexpr int64_t kAlign = 64;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Products: a panel's bytes and columns, rows of a call, numbers added in one call.
constexpr int64_t kPanelBytes = int64_t{640} << 10;
constexpr int64_t kPanelColumnsMax = 512;
constexpr int64_t kRows = 128;
constexpr int64_t kSumsMax = 1024;

int64_t SumsOf(int64_t k) {
  const int64_t parts = (k + kSumsMax - 1) / kSumsMax;
  return std::min(k, RoundUp((k + parts - 1) / parts, 32));
}

int64_t PanelColumns(int64_t n, int64_t sums) {
  const int64_t most = std::clamp<int64_t>(kPanelBytes / 2 / sums / 64 * 64, 64, kPanelColumnsMax);
  const int64_t panels = (n + most - 1) / most;
  return std::min(n, RoundUp((n + panels - 1) / panels, 64));
}

// Attention: queries and keys of a block.
constexpr int64_t kQueries = 64;
constexpr int64_t kKeysMax = 512;

}  // namespace

int64_t ProductScratchBytes(int64_t m, int64_t n, int64_t k, int threads) {
  const int64_t sums = SumsOf(k), columns = PanelColumns(n, sums);
  const int64_t floats = sums < k ? m * n : threads * kRows * columns;
  return RoundUp(columns * RoundUp(sums, 2) * 2, kAlign) + floats * 4;
}

int64_t GradientProductScratchBytes(int64_t n, int64_t k, int threads) {
  const int64_t k_padded = RoundUp(k, 32);
  return RoundUp(k_padded * n * 2, kAlign) + threads * kRows * k_padded * 2;
}

int64_t AttentionScratchBytes(int64_t head_width, int64_t longest, int64_t real, int threads,
                              bool backward) {
  const int64_t keys = RoundUp(longest, kQueries) * head_width;
  const int64_t queries = kQueries * head_width;
  const int64_t block = std::min(kKeysMax, RoundUp(longest, kQueries)) * kQueries;
  const auto reals = [&](int64_t count) { return RoundUp(count * real, kAlign); };
  const auto floats = [](int64_t count) { return RoundUp(count * 4, kAlign); };
  int64_t bytes = 2 * reals(keys) + 2 * reals(queries) + floats(block) + reals(block) +
                  2 * floats(queries) + 3 * floats(kQueries);
  if (backward) {
    bytes += reals(keys) + 2 * floats(keys) + 3 * reals(queries) + floats(block) +
             3 * reals(block) + floats(kQueries);
  }
  return threads * bytes;
}

}  // namespace trainyard::plan

#include "common/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "common/require.h"

namespace trainyard {
namespace {

using Block = std::array<uint32_t, 4>;

Block Philox(Block counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

uint64_t Join(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }

double ToUnit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

}  // namespace

std::array<uint32_t, 4> Rng::Bits(uint64_t step, uint64_t index) const {
  // The purpose is folded into the key; step and index are the counter.
  const uint64_t key = seed + uint64_t{0x9E3779B97F4A7C15} * static_cast<uint64_t>(purpose);
  return Philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                 static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)},
                {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
}

double Rng::Uniform(uint64_t step, uint64_t index) const {
  const Block bits = Bits(step, index);
  return ToUnit(Join(bits[0], bits[1]));
}

double Rng::Normal(uint64_t step, uint64_t index) const {
  const Block bits = Bits(step, index);
  const double radius_uniform = 1.0 - ToUnit(Join(bits[0], bits[1]));  // in (0, 1]
  const double angle = 2.0 * std::numbers::pi * ToUnit(Join(bits[2], bits[3]));
  return std::sqrt(-2.0 * std::log(radius_uniform)) * std::cos(angle);
}

uint64_t Rng::Below(uint64_t n, uint64_t step, uint64_t index) const {
  REQUIRE(n > 0);
  const Block bits = Bits(step, index);
  __extension__ using uint128 = unsigned __int128;
  return static_cast<uint64_t>(static_cast<uint128>(Join(bits[0], bits[1])) * n >> 64);
}

std::vector<int64_t> Rng::Permutation(int64_t n, uint64_t step) const {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) {
    const auto j =
        static_cast<int64_t>(Below(static_cast<uint64_t>(i) + 1, step, static_cast<uint64_t>(i)));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(j)]);
  }
  return order;
}

}  // namespace trainyard

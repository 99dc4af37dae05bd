// Everything random in Trainyard is a pure function of (seed, purpose, step, index): no generator
// has a state that a checkpoint would have to keep. Philox4x32-10 (Salmon et al. 2011, "Parallel
// random numbers: as easy as 1, 2, 3") keyed by the seed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace trainyard {

// What a draw is for. Numbers are part of every resolved run: never reuse or renumber one.
enum class Purpose : uint32_t { kInit = 1, kDataOrder = 2, kSample = 3, kMask = 4, kDropout = 5 };

struct Rng {
  uint64_t seed = 0;
  Purpose purpose = Purpose::kInit;

  // 128 random bits for this step and index.
  std::array<uint32_t, 4> Bits(uint64_t step, uint64_t index) const;
  // Uniform in [0, 1), 53 bits.
  double Uniform(uint64_t step, uint64_t index) const;
  // Standard normal (Box-Muller on the 128 bits).
  double Normal(uint64_t step, uint64_t index) const;
  // Uniform in [0, n); n > 0. Lemire's multiply-shift on 64 bits: bias below n / 2^64.
  uint64_t Below(uint64_t n, uint64_t step, uint64_t index) const;
  // A permutation of 0..n-1 (Fisher-Yates), the same for the same (seed, purpose, step).
  std::vector<int64_t> Permutation(int64_t n, uint64_t step) const;
};

}  // namespace trainyard

#include "worker/optim/adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/require.h"
#include "worker/optim/loops.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kRoundedAtOnce = 2048;

struct Factors {
  float decay, gradient_scale, one_minus_beta1, beta2, one_minus_beta2, step, root_correction,
      epsilon;
};

Factors FactorsOf(const AdamW& adamw) {
  const auto t = static_cast<double>(adamw.update);
  const double correction1 = 1.0 - std::pow(adamw.beta1, t);
  const double correction2 = 1.0 - std::pow(adamw.beta2, t);
  return {.decay = static_cast<float>(1.0 - adamw.learning_rate * adamw.weight_decay),
          .gradient_scale = static_cast<float>(adamw.gradient_scale),
          .one_minus_beta1 = static_cast<float>(1.0 - adamw.beta1),
          .beta2 = static_cast<float>(adamw.beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - adamw.beta2),
          .step = static_cast<float>(adamw.learning_rate / correction1),
          .root_correction = static_cast<float>(1.0 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(adamw.epsilon)};
}

TRAINYARD_LOOP void UpdateRange(const Factors f, int64_t count, float* __restrict master,
                                float* __restrict gradient, float* __restrict moment1,
                                float* __restrict moment2) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.gradient_scale;
    const float m = moment1[i] + f.one_minus_beta1 * (g - moment1[i]);
    const float v = f.beta2 * moment2[i] + f.one_minus_beta2 * g * g;
    moment1[i] = m;
    moment2[i] = v;
    master[i] = f.decay * master[i] - f.step * m / (std::sqrt(v) * f.root_correction + f.epsilon);
    gradient[i] = 0;
  }
}

// To nearest, ties to even, as c10 rounds; a loop that the compiler can make vectors of.
TRAINYARD_LOOP void RoundRange(int64_t count, const float* __restrict master,
                               uint16_t* __restrict weight) {
  for (int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(master[i]);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    weight[i] = static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
  }
}

}  // namespace

void AdamWUpdate(const AdamW& adamw, std::span<float> master, std::span<float> gradient,
                 std::span<float> moment1, std::span<float> moment2,
                 std::span<c10::BFloat16> weight) {
  REQUIRE(gradient.size() == master.size() && moment1.size() == master.size() &&
          moment2.size() == master.size() && (weight.empty() || weight.size() == master.size()));
  const Factors factors = FactorsOf(adamw);
  at::parallel_for(0, static_cast<int64_t>(master.size()), kLoopGrain,
                   [&](int64_t begin, int64_t end) {
                     // Rounded while they are in the cache.
                     for (int64_t first = begin; first < end; first += kRoundedAtOnce) {
                       const int64_t count = std::min(kRoundedAtOnce, end - first);
                       UpdateRange(factors, count, master.data() + first, gradient.data() + first,
                                   moment1.data() + first, moment2.data() + first);
                       if (weight.empty()) continue;
                       RoundRange(count, master.data() + first,
                                  reinterpret_cast<uint16_t*>(weight.data()) + first);
                     }
                   });
}

}  // namespace trainyard::worker

#include "worker/model/fresh_weights.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "common/require.h"
#include "common/rng.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kGrain = 4096;

// FNV-1a, 64 bits: a tensor's random stream, the same wherever the tensor lies.
uint64_t StreamOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

void FillNormal(const ParameterSpec& spec, uint64_t seed, double deviation, float* out) {
  const Rng rng{.seed = seed, .purpose = Purpose::kInit};
  const uint64_t stream = StreamOf(spec.name);
  at::parallel_for(0, spec.count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      out[i] = static_cast<float>(deviation * rng.Normal(stream, static_cast<uint64_t>(i)));
    }
  });
}

}  // namespace

void FillFreshWeights(const ModelConfig& config, const std::vector<ParameterSpec>& layout,
                      uint64_t seed, std::span<float> weights) {
  const double deviation = config.initializer_range;
  const double residual = deviation / std::sqrt(2.0 * static_cast<double>(config.layers));
  for (const ParameterSpec& spec : layout) {
    REQUIRE(spec.first + spec.count <= static_cast<int64_t>(weights.size()));
    float* out = weights.data() + spec.first;
    switch (spec.init) {
      case Init::kNormal:
        FillNormal(spec, seed, deviation, out);
        break;
      case Init::kResidual:
        FillNormal(spec, seed, residual, out);
        break;
      case Init::kOne:
        std::fill_n(out, spec.count, 1.0F);
        break;
      case Init::kZero:
        std::fill_n(out, spec.count, 0.0F);
        break;
    }
  }
}

}  // namespace trainyard::worker

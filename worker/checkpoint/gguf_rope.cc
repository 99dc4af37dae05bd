#include "worker/checkpoint/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trainyard::worker {
namespace {

double WaveLength(double theta, int64_t i, int64_t width) {
  const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(width);
  return 2 * std::numbers::pi * std::pow(theta, exponent);
}

bool Gives(const Llama3Rope& rope, std::span<const float> factors, double theta) {
  const auto ours = Llama3RopeFactors(rope, theta, 2 * static_cast<int64_t>(factors.size()));
  for (size_t i = 0; i < factors.size(); ++i)
    if (!(std::fabs(ours[i] - factors[i]) <= 1e-4 * factors[i])) return false;
  return true;
}

// Between the two bounds 1 / factor blends linearly in 1 / wave length: a line through its points.
Llama3Rope Fitted(std::span<const float> factors, double theta) {
  Llama3Rope rope;
  rope.factor = *std::max_element(factors.begin(), factors.end());
  double n = 0, x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0;
  const auto width = 2 * static_cast<int64_t>(factors.size());
  for (size_t i = 0; i < factors.size(); ++i) {
    const double factor = factors[i];
    if (factor <= 1 || factor >= rope.factor) continue;
    const double x = static_cast<double>(rope.original_max_positions) /
                     WaveLength(theta, static_cast<int64_t>(i), width);
    const double y = (1 / factor - 1 / rope.factor) / (1 - 1 / rope.factor);
    n += 1, x_sum += x, y_sum += y, xx_sum += x * x, xy_sum += x * y;
  }
  const double slope = (n * xy_sum - x_sum * y_sum) / (n * xx_sum - x_sum * x_sum);
  const auto rounded = [](double value) { return std::round(value * 1e6) / 1e6; };
  rope.low_freq_factor = rounded((x_sum - y_sum / slope) / n);
  rope.high_freq_factor = rounded(rope.low_freq_factor + 1 / slope);
  return rope;
}

}  // namespace

std::vector<double> Llama3RopeFactors(const Llama3Rope& rope, double theta, int64_t width) {
  const auto length = static_cast<double>(rope.original_max_positions);
  std::vector<double> factors;
  for (int64_t i = 0; i < width / 2; ++i) {
    const double wave = WaveLength(theta, i, width);
    const double smooth =
        (length / wave - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    const double blend = std::clamp(smooth, 0.0, 1.0);
    factors.push_back(1 / ((1 - blend) / rope.factor + blend));
  }
  return factors;
}

StatusOr<Llama3Rope> FitLlama3Rope(std::span<const float> factors, double theta) {
  if (!factors.empty()) {
    Llama3Rope rope;
    rope.factor = *std::max_element(factors.begin(), factors.end());
    if (Gives(rope, factors, theta)) return rope;
    rope = Fitted(factors, theta);
    if (Gives(rope, factors, theta)) return rope;
  }
  return Unimplemented(
      "tensor \"rope_freqs.weight\" stretches the rotary embedding in a way that is not Llama "
      "3.1's");
}

}  // namespace trainyard::worker

#include "worker/checkpoint/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <limits>
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
    if (!(std::fabs(ours[i] - factors[i]) <= 1e-5 * factors[i])) return false;
  return true;
}

// The two lengths between which frequencies are blended: of waves longer than `low` all of the
// factor is taken, of waves shorter than `high` nothing. Seen as 1 / wave, the blend grows linearly
// from 0 at 1 / low to 1 at 1 / high.
struct Bounds {
  double low = 0, high = 0;  // 1 / length
};

// What the factors say of the bounds. Waves grow with i, so their inverses fall.
struct Seen {
  double whole = 0;                                       // greatest 1 / wave of the whole factor
  double kept = std::numeric_limits<double>::infinity();  // smallest 1 / wave that is kept
  std::vector<std::pair<double, double>> blended = {};    // 1 / wave and its blend, between
};

Seen Look(std::span<const float> factors, double factor, double theta) {
  Seen seen;
  const auto width = 2 * static_cast<int64_t>(factors.size());
  for (size_t i = 0; i < factors.size(); ++i) {
    const double x = 1 / WaveLength(theta, static_cast<int64_t>(i), width);
    const double blend = (1 / double{factors[i]} - 1 / factor) / (1 - 1 / factor);
    if (factors[i] <= 1) {
      seen.kept = std::min(seen.kept, x);
    } else if (factors[i] >= factor) {
      seen.whole = std::max(seen.whole, x);
    } else {
      seen.blended.emplace_back(x, blend);
    }
  }
  return seen;
}

// The line through two blended waves or more: by least squares.
Bounds Line(const std::vector<std::pair<double, double>>& points) {
  double n = 0, x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0;
  const double unit = points[0].first;
  for (const auto& [x_whole, y] : points) {
    const double x = x_whole / unit;
    n += 1, x_sum += x, y_sum += y, xx_sum += x * x, xy_sum += x * y;
  }
  const double slope = (n * xy_sum - x_sum * y_sum) / (n * xx_sum - x_sum * x_sum);
  const double low = (x_sum - y_sum / slope) / n;
  return {low * unit, (low + 1 / slope) * unit};
}

// Bounds in the middle of those that the waves leave open; high = 4 low where that is among them.
Bounds Between(const Seen& seen) {
  if (seen.blended.empty()) {
    const double kept = std::isfinite(seen.kept) ? seen.kept : 8 * seen.whole;
    if (4 * seen.whole <= kept) return {kept / 4, kept};
    return {seen.whole, kept};
  }
  const auto [x, y] = seen.blended[0];
  const auto high_of = [x = x, y = y](double low) { return low + (x - low) / y; };
  // 4 low = low + (x - low) / y.
  if (const double low = x / (1 + 3 * y); low >= seen.whole && 4 * low <= seen.kept)
    return {low, 4 * low};
  // The lower the low bound, the higher the other.
  const double low_min =
      std::isfinite(seen.kept) ? std::max(seen.whole, (x - y * seen.kept) / (1 - y)) : seen.whole;
  const double low = std::max(low_min, x / 1024);
  return {low, high_of(low)};
}

// Of numbers that give the same factors those that people write.
Llama3Rope Written(double factor, const Bounds& bounds) {
  Llama3Rope rope{.factor = factor};
  const double length = 1 / bounds.low;
  const auto rounded = [](double value) { return std::round(value * 1e6) / 1e6; };
  if (std::fabs(length - std::round(length)) <= 1e-4 * length && length < 1e9) {
    rope.original_max_positions = std::max<int64_t>(std::llround(length), 1);
    rope.low_freq_factor = 1;
    rope.high_freq_factor = rounded(bounds.high / bounds.low);
    return rope;
  }
  const auto original = static_cast<double>(rope.original_max_positions);
  rope.low_freq_factor = bounds.low * original;
  rope.high_freq_factor = bounds.high * original;
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
  constexpr int64_t kPowerMax = int64_t{1} << 24;
  const double factor = factors.empty() ? 0 : *std::max_element(factors.begin(), factors.end());
  if (factor >= 1) {
    // Llama 3.1's own numbers, then others of their kind.
    if (const Llama3Rope rope{.factor = factor}; Gives(rope, factors, theta)) return rope;
    for (int64_t length = 1; length <= kPowerMax; length *= 2) {
      const Llama3Rope rope{.factor = factor, .original_max_positions = length};
      if (Gives(rope, factors, theta)) return rope;
    }
    const Seen seen = Look(factors, factor, theta);
    const Bounds bounds = seen.blended.size() > 1 ? Line(seen.blended) : Between(seen);
    Llama3Rope rope = Written(factor, bounds);
    if (Gives(rope, factors, theta)) return rope;
    const auto original = static_cast<double>(Llama3Rope{}.original_max_positions);
    rope = {.factor = factor,
            .low_freq_factor = bounds.low * original,
            .high_freq_factor = bounds.high * original};
    if (rope.high_freq_factor > rope.low_freq_factor && Gives(rope, factors, theta)) return rope;
  }
  return Unimplemented(
      "tensor \"rope_freqs.weight\" stretches the rotary embedding in a way that is not Llama "
      "3.1's");
}

}  // namespace trainyard::worker

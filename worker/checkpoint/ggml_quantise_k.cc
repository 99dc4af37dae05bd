#include "worker/checkpoint/ggml_quantise_k.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "worker/checkpoint/float_formats.h"

namespace trainyard::worker {
namespace {

int Clamped(float value, int low, int high) {
  return static_cast<int>(
      std::clamp(std::nearbyint(value), static_cast<float>(low), static_cast<float>(high)));
}

// Writes a float16 and gives what it holds.
float PutHalf(float value, uint8_t* out) {
  const uint16_t bits = Float16FromFloat(value);
  std::memcpy(out, &bits, 2);
  return FloatFromFloat16(bits);
}

float Inverse(float value) {
  const float inverse = value == 0 ? 0.0f : 1.0f / value;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// value = scale q - offset, q from 0 to 15, neither below 0.
struct Affine {
  float scale = 0, offset = 0;
};

// The best scale and offset for fixed q, by weighted least squares, and the error that is left.
struct AffineFit {
  Affine affine;
  float error = 0;
  bool exists = false;
};
AffineFit SolveAffine(const float* x, const float* w, const std::array<int, 32>& q) {
  double sw = 0, swq = 0, swqq = 0, swx = 0, swqx = 0;
  for (size_t i = 0; i < 32; ++i) {
    sw += w[i], swq += w[i] * q[i], swqq += double{w[i]} * q[i] * q[i];
    swx += double{w[i]} * x[i], swqx += double{w[i]} * q[i] * x[i];
  }
  const double determinant = sw * swqq - swq * swq;
  if (!(determinant > 0)) return {};
  double scale = (sw * swqx - swq * swx) / determinant;
  double base = (swqq * swx - swq * swqx) / determinant;
  if (base > 0) base = 0, scale = swqx / swqq;
  if (!(scale > 0)) return {};
  AffineFit fit{.affine = {static_cast<float>(scale), static_cast<float>(-base)}, .exists = true};
  double error = 0;
  for (size_t i = 0; i < 32; ++i) {
    const double gap = scale * q[i] + base - x[i];
    error += w[i] * gap * gap;
  }
  fit.error = static_cast<float>(error);
  return fit;
}

// Large values weigh more.
Affine FitAffine(const float* x) {
  const float low = std::min(0.0f, *std::min_element(x, x + 32));
  const float high = *std::max_element(x, x + 32);
  if (!(high > low)) return {.scale = 0, .offset = -low};
  double squares = 0;
  for (size_t i = 0; i < 32; ++i) squares += double{x[i]} * x[i];
  const auto typical = static_cast<float>(std::sqrt(squares / 32));
  std::array<float, 32> w;
  for (size_t i = 0; i < 32; ++i) w[i] = typical + std::fabs(x[i]);
  AffineFit best;
  // Levels a little more and less than 15 over the range.
  for (int step = -10; step <= 10; ++step) {
    const float inverse = (15 + 0.1f * static_cast<float>(step)) / (high - low);
    std::array<int, 32> q;
    for (size_t i = 0; i < 32; ++i) q[i] = Clamped(inverse * (x[i] - low), 0, 15);
    const AffineFit fit = SolveAffine(x, w.data(), q);
    if (fit.exists && (!best.exists || fit.error < best.error)) best = fit;
  }
  if (!best.exists) return {.scale = (high - low) / 15, .offset = -low};
  return best.affine;
}

// As UnpackScale of ggml_blocks.cc reads them.
void PackScale(int s, int scale, int min, uint8_t* packed) {
  if (s < 4) {
    packed[s] |= static_cast<uint8_t>(scale);
    packed[s + 4] |= static_cast<uint8_t>(min);
    return;
  }
  packed[s + 4] |= static_cast<uint8_t>((scale & 15) | ((min & 15) << 4));
  packed[s - 4] |= static_cast<uint8_t>((scale >> 4) << 6);
  packed[s] |= static_cast<uint8_t>((min >> 4) << 6);
}

// value = scale q, q from -32 to 31; scale may be below 0. Squares weigh.
float FitScale(const float* x) {
  const float* largest =
      std::max_element(x, x + 16, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  if (Inverse(*largest) == 0) return 0;
  float best_scale = 0;
  double best = -1;
  for (int step = -9; step <= 9; ++step) {
    const float inverse = -(32 + 0.1f * static_cast<float>(step)) / *largest;
    double wqx = 0, wqq = 0;
    for (int i = 0; i < 16; ++i) {
      const int q = Clamped(inverse * x[i], -32, 31);
      const double w = double{x[i]} * x[i];
      wqx += w * q * x[i], wqq += w * q * q;
    }
    // Of the squared error this much is explained.
    if (wqq > 0 && wqx * wqx > best * wqq) {
      best = wqx * wqx / wqq;
      best_scale = static_cast<float>(wqx / wqq);
    }
  }
  return best_scale;
}

}  // namespace

bool QuantiseQ4_K(const float* values, uint8_t* block) {
  std::array<Affine, 8> fits;
  float largest_scale = 0, largest_offset = 0;
  for (size_t s = 0; s < 8; ++s) {
    fits[s] = FitAffine(values + 32 * s);
    largest_scale = std::max(largest_scale, fits[s].scale);
    largest_offset = std::max(largest_offset, fits[s].offset);
  }
  std::memset(block, 0, 144);
  const float d = PutHalf(largest_scale / 63, block);
  const float dmin = PutHalf(largest_offset / 63, block + 2);
  for (int s = 0; s < 8; ++s) {
    const Affine& fit = fits[static_cast<size_t>(s)];
    const int scale = Clamped(fit.scale * Inverse(largest_scale / 63), 0, 63);
    const int min = Clamped(fit.offset * Inverse(largest_offset / 63), 0, 63);
    PackScale(s, scale, min, block + 4);
    const float inverse = Inverse(d * static_cast<float>(scale));
    const float offset = dmin * static_cast<float>(min);
    for (int i = 0; i < 32; ++i) {
      const int q = Clamped((values[32 * s + i] + offset) * inverse, 0, 15);
      block[16 + 32 * (s / 2) + i] |= static_cast<uint8_t>(q << (4 * (s % 2)));
    }
  }
  return std::isfinite(d) && std::isfinite(dmin);
}

bool QuantiseQ6_K(const float* values, uint8_t* block) {
  std::array<float, 16> scales;
  for (size_t s = 0; s < 16; ++s) scales[s] = FitScale(values + 16 * s);
  const float largest = *std::max_element(
      scales.begin(), scales.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  std::memset(block, 0, 210);
  const float d = PutHalf(largest / -128, block + 208);
  for (size_t s = 0; s < 16; ++s) {
    const int scale = Clamped(scales[s] * Inverse(largest / -128), -128, 127);
    block[192 + s] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float inverse = Inverse(d * static_cast<float>(scale));
    for (size_t i = 16 * s; i < 16 * s + 16; ++i) {
      const int q = Clamped(values[i] * inverse, -32, 31) + 32;
      const size_t run = i / 32, in_run = i % 32;  // as FromQ6_K reads them
      block[64 * (run / 4) + 32 * (run % 2) + in_run] |=
          static_cast<uint8_t>((q & 15) << (4 * (run % 4 / 2)));
      block[128 + 32 * (run / 4) + in_run] |= static_cast<uint8_t>((q >> 4) << (2 * (run % 4)));
    }
  }
  return std::isfinite(d);
}

}  // namespace trainyard::worker

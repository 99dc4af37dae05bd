#include "worker/optim/gradient_norm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <vector>

#include "worker/optim/loops.h"

namespace trainyard::worker {
namespace {

constexpr int64_t kLanes = 8;  // independent partial sums, so that the loop is wide

TRAINYARD_LOOP double SumPiece(const float* values, int64_t count) {
  std::array<double, kLanes> lanes{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double x = values[i + lane];
      lanes[static_cast<size_t>(lane)] += x * x;
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return sum;
}

}  // namespace

double SumOfSquares(std::span<const float> values) {
  const auto count = static_cast<int64_t>(values.size());
  const int64_t pieces = (count + kLoopGrain - 1) / kLoopGrain;
  std::vector<double> sum_of_piece(static_cast<size_t>(pieces));
  at::parallel_for(0, pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const int64_t first = piece * kLoopGrain;
      sum_of_piece[static_cast<size_t>(piece)] =
          SumPiece(values.data() + first, std::min(kLoopGrain, count - first));
    }
  });
  double sum = 0;
  for (const double piece : sum_of_piece) sum += piece;
  return sum;
}

double ClipScale(double norm, double max_norm) {
  if (max_norm <= 0) return 1.0;
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace trainyard::worker

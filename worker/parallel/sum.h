// Sums in rank order: the same bits whoever computes them.
#pragma once

#include <cstdint>
#include <span>

namespace trainyard::worker {

// own[i] = out[i] = ((sources[0][i] + sources[1][i]) + sources[2][i]) + ...
// `own` may be one of the sources; `out`, which other cores read next, overlaps none and may be
// null.
void SumInOrder(std::span<const float* const> sources, float* own, float* out, int64_t count);
void SumInOrder(std::span<const double* const> sources, double* own, double* out, int64_t count);

}  // namespace trainyard::worker

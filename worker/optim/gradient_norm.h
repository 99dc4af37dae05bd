// The length of a gradient, and how far to shorten it.
#pragma once

#include <span>

namespace trainyard::worker {

// The sum of squares, in float64. Pieces of a fixed size are summed in order, so the bits do not
// depend on the threads. Not finite if and only if an element is not finite.
double SumOfSquares(std::span<const float> values);

// The factor that brings a gradient of length `norm` to at most `max_norm`; 1 when max_norm is 0 or
// nothing has to be done. As torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)).
double ClipScale(double norm, double max_norm);

}  // namespace trainyard::worker

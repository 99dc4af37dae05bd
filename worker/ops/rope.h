// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the layout of Hugging Face's
// Llama: element i of a head is paired with element i + width/2.
// Shape letters: T tokens, N heads (queries, then keys), H head width, P positions.
#pragma once

#include <vector>

#include "worker/ops/tensor.h"

namespace trainyard::worker {

struct RopeTable {
  Tensor cos_PH;  // [positions, width / 2]
  Tensor sin_PH;
};

// angle(p, i) = p frequencies[i], cosines and sines times `factor`. In float32 the angle is rounded
// to float32, as transformers does: past a thousand positions the rounding is part of the model.
struct RopeAngles {
  std::vector<double> frequencies;  // [width / 2]
  double factor = 1;
};
// Of places 0 .. positions - 1.
RopeTable MakeRopeTable(int64_t positions, const RopeAngles& angles, at::ScalarType type,
                        at::Device device = at::kCPU);
// Of the given places, one row each.
RopeTable MakeRopeRows(const std::vector<int64_t>& positions, const RopeAngles& angles,
                       at::ScalarType type, at::Device device = at::kCPU);

// Rotates x in place; `rope` holds the rows of the T tokens, one each.
void RopeForward(const Tensor& x_TNH, const RopeTable& rope);
// Rotates the gradient back, in place.
void RopeBackward(const Tensor& dx_TNH, const RopeTable& rope);

}  // namespace trainyard::worker

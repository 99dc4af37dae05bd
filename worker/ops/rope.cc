#include "worker/ops/rope.h"

#include <cmath>
#include <numeric>

#include "worker/ops/dispatch.h"

namespace trainyard::worker {
namespace {

template <class Real>
void Fill(const std::vector<int64_t>& positions, const RopeAngles& angles, RopeTable& table) {
  const auto half = static_cast<int64_t>(angles.frequencies.size());
  const auto factor = static_cast<Real>(angles.factor);
  auto* cosines = table.cos_PH.mutable_data_ptr<Real>();
  auto* sines = table.sin_PH.mutable_data_ptr<Real>();
  for (int64_t i = 0; i < half; ++i) {
    const auto frequency = static_cast<Real>(angles.frequencies[static_cast<size_t>(i)]);
    for (int64_t p = 0; p < std::ssize(positions); ++p) {
      const Real angle = static_cast<Real>(positions[static_cast<size_t>(p)]) * frequency;
      cosines[p * half + i] = std::cos(angle) * factor;
      sines[p * half + i] = std::sin(angle) * factor;
    }
  }
}

// The heads of a row lie side by side, rows may be further apart.
bool TurnByKernel(const Tensor& x_TNH, const RopeTable& rope, double direction) {
  const bool side_by_side = x_TNH.stride(2) == 1 && x_TNH.stride(1) == x_TNH.size(2);
  if (!side_by_side || !KernelsTake(x_TNH)) return false;
  WithReal(x_TNH, [&]<class Real>(RealTag<Real>) {
    RopeCpu(RopeArgs<Real>{.x_TNH = Out<Real>(x_TNH),
                           .cos_TH = In<float>(rope.cos_PH),
                           .sin_TH = In<float>(rope.sin_PH),
                           .direction = static_cast<float>(direction),
                           .tokens = x_TNH.size(0),
                           .stride = x_TNH.stride(0),
                           .heads = x_TNH.size(1),
                           .width = x_TNH.size(2)});
  });
  return true;
}

// (a, b) -> (a cos - b sin, b cos + a sin), for the halves of every head.
void Rotate(const Tensor& x_TNH, const RopeTable& rope, double direction) {
  if (TurnByKernel(x_TNH, rope, direction)) return;
  const int64_t half = x_TNH.size(2) / 2;
  const auto type = x_TNH.scalar_type();
  const Tensor cos_T1H = rope.cos_PH.unsqueeze(1);
  const Tensor sin_T1H = rope.sin_PH.unsqueeze(1) * direction;
  const Tensor first_TNH = x_TNH.narrow(2, 0, half);
  const Tensor second_TNH = x_TNH.narrow(2, half, half);
  const Tensor a_TNH = Widen(first_TNH);
  const Tensor b_TNH = Widen(second_TNH);
  const Tensor rotated_TNH = (a_TNH * cos_T1H).addcmul_(b_TNH, sin_T1H, /*value=*/-1);
  second_TNH.copy_((b_TNH * cos_T1H).addcmul_(a_TNH, sin_T1H).to(type));
  first_TNH.copy_(rotated_TNH.to(type));
}

}  // namespace

RopeTable MakeRopeTable(int64_t positions, const RopeAngles& angles, at::ScalarType type,
                        at::Device device) {
  std::vector<int64_t> all(static_cast<size_t>(positions));
  std::iota(all.begin(), all.end(), 0);
  return MakeRopeRows(all, angles, type, device);
}

RopeTable MakeRopeRows(const std::vector<int64_t>& positions, const RopeAngles& angles,
                       at::ScalarType type, at::Device device) {
  const auto half = static_cast<int64_t>(angles.frequencies.size());
  const auto wide = WideType(type);
  RopeTable table{at::empty({std::ssize(positions), half}, wide),
                  at::empty({std::ssize(positions), half}, wide)};
  if (wide == at::kDouble) {
    Fill<double>(positions, angles, table);
  } else {
    Fill<float>(positions, angles, table);
  }
  return {.cos_PH = table.cos_PH.to(device), .sin_PH = table.sin_PH.to(device)};
}

void RopeForward(const Tensor& x_TNH, const RopeTable& rope) { Rotate(x_TNH, rope, 1.0); }

void RopeBackward(const Tensor& dx_TNH, const RopeTable& rope) { Rotate(dx_TNH, rope, -1.0); }

}  // namespace trainyard::worker

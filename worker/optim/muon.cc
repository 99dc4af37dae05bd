#include "worker/optim/muon.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "worker/ops/linear.h"
#include "worker/optim/gradient_norm.h"
#include "worker/optim/loops.h"

namespace trainyard::worker {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr int kSteps = 5;
constexpr double kRmsOfAdamW = 0.2;
// Smaller products are not faster in bfloat16.
constexpr int64_t kBfloat16RowsMin = 32;

struct Look {
  float gradient_scale, momentum, one_minus_momentum;
};

// Moves the momentum and looks ahead of it.
TRAINYARD_LOOP void LookAhead(const Look f, int64_t count, float* __restrict gradient,
                              float* __restrict momentum, float* __restrict ahead) {
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * f.gradient_scale;
    const float m = momentum[i] + f.one_minus_momentum * (g - momentum[i]);
    momentum[i] = m;
    ahead[i] = g + f.momentum * (m - g);
    gradient[i] = 0;
  }
}

TRAINYARD_LOOP void Descend(float decay, float step, int64_t count, float* __restrict master,
                            const float* __restrict direction) {
  for (int64_t i = 0; i < count; ++i) master[i] = decay * master[i] - step * direction[i];
}

void UpdateMatrix(const Muon& muon, const MuonMatrix& w) {
  const WithoutAutograd guard;
  Tensor ahead_RC = at::empty({w.rows, w.columns}, at::kFloat);
  auto* ahead = ahead_RC.mutable_data_ptr<float>();
  const Look look{.gradient_scale = static_cast<float>(muon.gradient_scale),
                  .momentum = static_cast<float>(muon.momentum),
                  .one_minus_momentum = static_cast<float>(1.0 - muon.momentum)};
  for (int64_t row = 0; row < w.rows; ++row) {
    LookAhead(look, w.columns, w.gradient + row * w.stride, w.momentum + row * w.stride,
              ahead + row * w.columns);
  }
  const double squares = SumOfSquares({ahead, static_cast<size_t>(ahead_RC.numel())});
  ahead_RC.mul_(1.0 / std::max(std::sqrt(squares), kMuonLengthMin));
  const Tensor direction_RC = Orthogonalise(ahead_RC, muon.bfloat16).contiguous();
  const auto* direction = direction_RC.const_data_ptr<float>();
  const auto decay = static_cast<float>(1.0 - muon.learning_rate * muon.weight_decay);
  const auto step = static_cast<float>(MuonStepSize(muon, w.rows, w.columns));
  for (int64_t row = 0; row < w.rows; ++row) {
    Descend(decay, step, w.columns, w.master + row * w.stride, direction + row * w.columns);
  }
}

// x [R, C] with R <= C, whose products are in `type`. Close to convergence A is close to I and so
// is the polynomial: their diagonals, which rounding would hurt most, stay in the wide type, with
//   A A = O O + D O + O D + D D    for A = D + O, D its diagonal.
// That costs no product and leaves a fifth of the error of rounding A and X whole.
Tensor Iterate(Tensor x, at::ScalarType type) {
  for (int step = 0; step < kSteps; ++step) {
    const Tensor narrow = x.to(type);
    Tensor rest_RR = WideProduct(narrow, narrow.t());
    const Tensor diagonal_R = rest_RR.diagonal().clone();
    rest_RR.fill_diagonal_(0);
    const Tensor narrow_rest_RR = rest_RR.to(type);
    Tensor factor_RR = WideProduct(narrow_rest_RR, narrow_rest_RR).mul_(kC);
    const Tensor linear_R = kC * diagonal_R + 0.5 * kB;
    factor_RR.addcmul_(rest_RR, linear_R.unsqueeze(1) + linear_R);
    const Tensor factor_diagonal_R =
        factor_RR.diagonal() + diagonal_R * (kC * diagonal_R + kB) + kA;
    factor_RR.fill_diagonal_(0);
    x = WideProduct(factor_RR.to(type), narrow).addcmul_(x, factor_diagonal_R.unsqueeze(1));
  }
  return x;
}

}  // namespace

Tensor Orthogonalise(const Tensor& x_RC, bool bfloat16) {
  const int64_t rows = x_RC.size(0), columns = x_RC.size(1);
  if (rows > columns) return Orthogonalise(x_RC.t().contiguous(), bfloat16).t();
  if (!bfloat16 || rows < kBfloat16RowsMin) return Iterate(x_RC, x_RC.scalar_type());
  // The kernels take pairs. Rows and columns of zeros stay zeros.
  const Tensor even = at::constant_pad_nd(x_RC, {0, columns % 2, 0, rows % 2});
  return Iterate(even, at::kBFloat16).narrow(0, 0, rows).narrow(1, 0, columns);
}

double MuonStepSize(const Muon& muon, int64_t rows, int64_t columns) {
  return muon.learning_rate * kRmsOfAdamW * std::sqrt(static_cast<double>(std::max(rows, columns)));
}

void MuonUpdate(const Muon& muon, std::span<const MuonMatrix> matrices) {
  at::parallel_for(0, static_cast<int64_t>(matrices.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) UpdateMatrix(muon, matrices[static_cast<size_t>(i)]);
  });
}

}  // namespace trainyard::worker

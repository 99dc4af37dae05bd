// Muon: momentum whose matrix is brought near to the closest orthogonal one before it is applied
// (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). For the matrices of hidden
// layers; embeddings, the head, norms and biases are AdamW's. In the form of torch.optim.Muon with
// adjust_lr_fn "match_rms_adamw", for a weight W [R, C]:
//   m += (1 - mu) (g - m);   u = g + mu (m - g)                      Nesterov's look ahead
//   o = Orthogonalise(u / max(|u|, 1e-7))                            |u|: the Frobenius norm
//   W -= lr wd W;   W -= lr 0.2 sqrt(max(R, C)) o
// The last factor gives the update the root mean square that AdamW's usually has (0.2 to 0.4), so
// that a learning rate and a weight decay found for AdamW hold: Liu et al. 2025, arXiv:2502.16982,
// section 2.2.
#pragma once

#include <cstdint>
#include <span>

#include "worker/ops/tensor.h"

namespace trainyard::worker {

constexpr double kMuonLengthMin = 1e-7;  // what |u| is divided by at least

struct Muon {
  double learning_rate = 0;
  double momentum = 0.95;  // mu above
  double weight_decay = 0;
  double gradient_scale = 1;  // clipping: every gradient is multiplied by it first
  bool bfloat16 = true;       // products of Orthogonalise; else in float32
};

// A weight [rows, columns] with its state. A row is contiguous and begins `stride` elements after
// the one before it, so a matrix may be some columns of a wider one.
struct MuonMatrix {
  float* master = nullptr;
  float* gradient = nullptr;
  float* momentum = nullptr;  // m above
  int64_t rows = 0, columns = 0, stride = 0;
};

// Five steps of the quintic iteration X <- a X + (b A + c A A) X with A = X X^T and (a, b, c) =
// (3.4445, -4.7750, 2.0315), which drives the singular values of a matrix of norm at most 1 to
// between 0.68 and 1.21 (the quintic's extremes) if they are not too small. `x_RC` is float32 or
// float64, and so is the result; with `bfloat16` (and float32) the factors of products are rounded
// to bfloat16. A matrix with more rows than columns is transposed on the way, so that A is small.
Tensor Orthogonalise(const Tensor& x_RC, bool bfloat16);

// The factor before o above, for W [rows, columns].
double MuonStepSize(const Muon& muon, int64_t rows, int64_t columns);

// One update of each matrix: masters and momentum in place; gradients become zero. Matrices are
// shared out over the threads, each done by one, so its bits do not depend on how many there are
// (unless it is the only one). A gradient of zeros leaves an empty momentum empty.
void MuonUpdate(const Muon& muon, std::span<const MuonMatrix> matrices);

}  // namespace trainyard::worker

// Normalisation over the last dim. Shape letters: T tokens, D width.
// Backward returns the gradient by x plus `dresidual_TD`, the gradient that reaches x past the norm
// (undefined: none).
#pragma once

#include "worker/ops/tensor.h"

namespace trainyard::worker {

// What backward needs beside the input: per token, in the wide type.
struct NormSaved {
  Tensor mean_T1;  // layer norm only
  Tensor rstd_T1;  // 1 / sqrt(mean square (rms) or variance (layer) + epsilon)
};

// y = x rstd (w + offset) (Zhang and Sennrich 2019, arXiv:1910.07467); Gemma's offset is 1.
struct RmsNormOptions {
  double epsilon = 1e-5;
  double offset = 0;
};
Tensor RmsNormForward(const Tensor& x_TD, const Tensor& weight_D, const RmsNormOptions& options,
                      NormSaved& saved);
Tensor RmsNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                       const RmsNormOptions& options, const NormSaved& saved,
                       const Tensor& dweight_D, const Tensor& dresidual_TD = {});

// y = (x - mean) rstd w + b (Ba et al. 2016, arXiv:1607.06450).
Tensor LayerNormForward(const Tensor& x_TD, const Tensor& weight_D, const Tensor& bias_D,
                        double epsilon, NormSaved& saved);
Tensor LayerNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                         const NormSaved& saved, const Tensor& dweight_D, const Tensor& dbias_D,
                         const Tensor& dresidual_TD = {});

}  // namespace trainyard::worker

#include "worker/ops/norm.h"

namespace trainyard::worker {

Tensor RmsNormForward(const Tensor& x_TD, const Tensor& weight_D, double epsilon,
                      NormSaved& saved) {
  const Tensor wide_TD = Widen(x_TD);
  saved.rstd_T1 = wide_TD.square().mean(-1, /*keepdim=*/true).add_(epsilon).rsqrt_();
  return (wide_TD * saved.rstd_T1).mul_(Widen(weight_D)).to(x_TD.scalar_type());
}

// With h = x rstd and g = dy w:  dw = sum_T dy h,  dx = rstd (g - h mean_D(g h)).
Tensor RmsNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                       const NormSaved& saved, const Tensor& dweight_D) {
  const Tensor normed_TD = Widen(x_TD) * saved.rstd_T1;
  Tensor weighted_TD = Widen(dy_TD) * normed_TD;  // dy h
  Tensor(dweight_D).add_(weighted_TD.sum(0));
  weighted_TD.mul_(Widen(weight_D));  // g h
  const Tensor mean_T1 = weighted_TD.mean(-1, /*keepdim=*/true);
  return (Widen(dy_TD) * Widen(weight_D))
      .addcmul_(normed_TD, mean_T1, /*value=*/-1)
      .mul_(saved.rstd_T1)
      .to(x_TD.scalar_type());
}

Tensor LayerNormForward(const Tensor& x_TD, const Tensor& weight_D, const Tensor& bias_D,
                        double epsilon, NormSaved& saved) {
  auto [y_TD, mean_T1, rstd_T1] =
      at::native_layer_norm(Widen(x_TD), weight_D.sizes(), Widen(weight_D), Widen(bias_D), epsilon);
  saved = {.mean_T1 = mean_T1, .rstd_T1 = rstd_T1};
  return y_TD.to(x_TD.scalar_type());
}

Tensor LayerNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                         const NormSaved& saved, const Tensor& dweight_D, const Tensor& dbias_D) {
  const Tensor wide_weight_D = Widen(weight_D);
  const auto [dx_TD, dw_D, db_D] = at::native_layer_norm_backward(
      Widen(dy_TD), Widen(x_TD), weight_D.sizes(), saved.mean_T1, saved.rstd_T1, wide_weight_D,
      /*bias=*/wide_weight_D, {true, true, true});  // of the bias only its presence matters
  Tensor(dweight_D).add_(dw_D);
  Tensor(dbias_D).add_(db_D);
  return dx_TD.to(x_TD.scalar_type());
}

}  // namespace trainyard::worker

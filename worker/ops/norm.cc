#include "worker/ops/norm.h"

#include "worker/ops/dispatch.h"

namespace trainyard::worker {
namespace {

template <class Real>
NormForwardArgs<Real> ForwardArgs(const Tensor& x_TD, const Tensor& weight_D, const Tensor& bias_D,
                                  const RmsNormOptions& options, const NormSaved& saved,
                                  const Tensor& y_TD) {
  return {.x_TD = In<Real>(x_TD),
          .weight_D = In<Real>(weight_D),
          .bias_D = In<Real>(bias_D),
          .weight_offset = static_cast<float>(options.offset),
          .epsilon = static_cast<float>(options.epsilon),
          .tokens = x_TD.size(0),
          .width = x_TD.size(1),
          .y_TD = Out<Real>(y_TD),
          .mean_T = Out<float>(saved.mean_T1),
          .rstd_T = Out<float>(saved.rstd_T1)};
}

template <class Real>
NormBackwardArgs<Real> BackwardArgs(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                                    double weight_offset, const NormSaved& saved,
                                    const Tensor& dresidual_TD, const Tensor& dx_TD,
                                    const Tensor& dweight_D, const Tensor& dbias_D) {
  return {.dy_TD = In<Real>(dy_TD),
          .x_TD = In<Real>(x_TD),
          .weight_D = In<Real>(weight_D),
          .weight_offset = static_cast<float>(weight_offset),
          .mean_T = In<float>(saved.mean_T1),
          .rstd_T = In<float>(saved.rstd_T1),
          .dresidual_TD = In<Real>(dresidual_TD),
          .tokens = x_TD.size(0),
          .width = x_TD.size(1),
          .dx_TD = Out<Real>(dx_TD),
          .dweight_D = Out<float>(dweight_D),
          .dbias_D = Out<float>(dbias_D)};
}

Tensor WideColumn(const Tensor& x_TD) {
  return at::empty({x_TD.size(0), 1}, x_TD.options().dtype(WideType(x_TD.scalar_type())));
}

// ATen's norms on a GPU take bfloat16 as it is and work in float32 inside; the gradients by weight
// and bias are rounded once.
Tensor ForAten(const Tensor& x) { return x.is_cuda() ? x : Widen(x); }

Tensor Shifted(const Tensor& weight_D, const RmsNormOptions& options) {
  return options.offset == 0 ? weight_D : weight_D + options.offset;
}

Tensor AddResidual(Tensor dx_TD, const Tensor& dresidual_TD) {
  return dresidual_TD.defined() ? dx_TD.add_(dresidual_TD) : dx_TD;
}

}  // namespace

Tensor RmsNormForward(const Tensor& x_TD, const Tensor& weight_D, const RmsNormOptions& options,
                      NormSaved& saved) {
  if (OnKernels(x_TD)) {
    saved = {.mean_T1 = {}, .rstd_T1 = WideColumn(x_TD)};
    Tensor y_TD = at::empty_like(x_TD);
    WithReal(x_TD, [&]<class Real>(RealTag<Real>) {
      RmsNormForwardCpu(ForwardArgs<Real>(x_TD, weight_D, {}, options, saved, y_TD));
    });
    return y_TD;
  }
  if (x_TD.is_cuda()) {
    auto [y_TD, rstd_T1] =
        at::_fused_rms_norm(x_TD, weight_D.sizes(), Shifted(weight_D, options), options.epsilon);
    saved.rstd_T1 = rstd_T1;
    return y_TD;
  }
  const Tensor wide_TD = Widen(x_TD);
  saved.rstd_T1 = wide_TD.square().mean(-1, /*keepdim=*/true).add_(options.epsilon).rsqrt_();
  return (wide_TD * saved.rstd_T1).mul_(Shifted(Widen(weight_D), options)).to(x_TD.scalar_type());
}

// With h = x rstd and g = dy (w + offset):  dw = sum_T dy h,  dx = rstd (g - h mean_D(g h)).
Tensor RmsNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                       const RmsNormOptions& options, const NormSaved& saved,
                       const Tensor& dweight_D, const Tensor& dresidual_TD) {
  if (OnKernels(x_TD) && OnKernels(dy_TD)) {
    Tensor dx_TD = at::empty_like(x_TD);
    WithReal(x_TD, [&]<class Real>(RealTag<Real>) {
      RmsNormBackwardCpu(BackwardArgs<Real>(dy_TD, x_TD, weight_D, options.offset, saved,
                                            dresidual_TD, dx_TD, dweight_D, {}));
    });
    return dx_TD;
  }
  if (x_TD.is_cuda()) {
    const auto [dx_TD, dw_D] = at::_fused_rms_norm_backward(
        dy_TD, x_TD, weight_D.sizes(), saved.rstd_T1, Shifted(weight_D, options), {true, true});
    Tensor(dweight_D).add_(dw_D);
    return AddResidual(dx_TD, dresidual_TD);
  }
  const Tensor normed_TD = Widen(x_TD) * saved.rstd_T1;
  Tensor weighted_TD = Widen(dy_TD) * normed_TD;  // dy h
  Tensor(dweight_D).add_(weighted_TD.sum(0));
  const Tensor factor_D = Shifted(Widen(weight_D), options);
  weighted_TD.mul_(factor_D);  // g h
  const Tensor mean_T1 = weighted_TD.mean(-1, /*keepdim=*/true);
  return AddResidual((Widen(dy_TD) * factor_D)
                         .addcmul_(normed_TD, mean_T1, /*value=*/-1)
                         .mul_(saved.rstd_T1)
                         .to(x_TD.scalar_type()),
                     dresidual_TD);
}

Tensor LayerNormForward(const Tensor& x_TD, const Tensor& weight_D, const Tensor& bias_D,
                        double epsilon, NormSaved& saved) {
  if (OnKernels(x_TD)) {
    saved = {.mean_T1 = WideColumn(x_TD), .rstd_T1 = WideColumn(x_TD)};
    Tensor y_TD = at::empty_like(x_TD);
    WithReal(x_TD, [&]<class Real>(RealTag<Real>) {
      LayerNormForwardCpu(
          ForwardArgs<Real>(x_TD, weight_D, bias_D, {.epsilon = epsilon}, saved, y_TD));
    });
    return y_TD;
  }
  auto [y_TD, mean_T1, rstd_T1] = at::native_layer_norm(
      ForAten(x_TD), weight_D.sizes(), ForAten(weight_D), ForAten(bias_D), epsilon);
  saved = {.mean_T1 = mean_T1, .rstd_T1 = rstd_T1};
  return y_TD.to(x_TD.scalar_type());
}

Tensor LayerNormBackward(const Tensor& dy_TD, const Tensor& x_TD, const Tensor& weight_D,
                         const NormSaved& saved, const Tensor& dweight_D, const Tensor& dbias_D,
                         const Tensor& dresidual_TD) {
  if (OnKernels(x_TD) && OnKernels(dy_TD)) {
    Tensor dx_TD = at::empty_like(x_TD);
    WithReal(x_TD, [&]<class Real>(RealTag<Real>) {
      LayerNormBackwardCpu(BackwardArgs<Real>(dy_TD, x_TD, weight_D, /*weight_offset=*/0, saved,
                                              dresidual_TD, dx_TD, dweight_D, dbias_D));
    });
    return dx_TD;
  }
  const Tensor wide_weight_D = ForAten(weight_D);
  const auto [dx_TD, dw_D, db_D] = at::native_layer_norm_backward(
      ForAten(dy_TD), ForAten(x_TD), weight_D.sizes(), saved.mean_T1, saved.rstd_T1, wide_weight_D,
      /*bias=*/wide_weight_D, {true, true, true});  // of the bias only its presence matters
  Tensor(dweight_D).add_(dw_D);
  Tensor(dbias_D).add_(db_D);
  return AddResidual(dx_TD.to(x_TD.scalar_type()), dresidual_TD);
}

}  // namespace trainyard::worker

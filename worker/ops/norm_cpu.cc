#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/ops/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/norm_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

template <class Real>
void RmsForward(const NormForwardArgs<Real>& a, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const Real* x = a.x_TD + t * a.width;
    Real* y = a.y_TD + t * a.width;
    LaneSum squares;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = LoadFloats(d, x + i);
      squares.MulAdd(d, v, v);
    });
    const float rstd = 1.0F / std::sqrt(squares.Total() / static_cast<float>(a.width) + a.epsilon);
    a.rstd_T[t] = rstd;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto normed = hn::Mul(LoadFloats(d, x + i), hn::Set(d, rstd));
      const auto weight = hn::Add(LoadFloats(d, a.weight_D + i), hn::Set(d, a.weight_offset));
      StoreFloats(hn::Mul(normed, weight), d, y + i);
    });
  }
}

template <class Real>
void LayerForward(const NormForwardArgs<Real>& a, int64_t begin, int64_t end) {
  const auto width = static_cast<float>(a.width);
  for (int64_t t = begin; t < end; ++t) {
    const Real* x = a.x_TD + t * a.width;
    Real* y = a.y_TD + t * a.width;
    LaneSum sum;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR { sum.Add(d, LoadFloats(d, x + i)); });
    const float mean = sum.Total() / width;
    LaneSum squares;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto centred = hn::Sub(LoadFloats(d, x + i), hn::Set(d, mean));
      squares.MulAdd(d, centred, centred);
    });
    const float rstd = 1.0F / std::sqrt(squares.Total() / width + a.epsilon);
    a.mean_T[t] = mean;
    a.rstd_T[t] = rstd;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto normed =
          hn::Mul(hn::Sub(LoadFloats(d, x + i), hn::Set(d, mean)), hn::Set(d, rstd));
      StoreFloats(hn::MulAdd(normed, LoadFloats(d, a.weight_D + i), LoadFloats(d, a.bias_D + i)), d,
                  y + i);
    });
  }
}

// With h the normed input and g = dy (w + offset):  dx = rstd (g - mean_D(g) - h mean_D(g h)),
// where RMS norm has no mean_D(g);  dw += dy h,  db += dy, into this piece's own sums.
template <bool kLayer, class Real>
void Backward(const NormBackwardArgs<Real>& a, int64_t begin, int64_t end, float* dweight_D,
              float* dbias_D) {
  const auto width = static_cast<float>(a.width);
  for (int64_t t = begin; t < end; ++t) {
    const Real* x = a.x_TD + t * a.width;
    const Real* dy = a.dy_TD + t * a.width;
    Real* dx = a.dx_TD + t * a.width;
    const Real* dresidual = a.dresidual_TD == nullptr ? nullptr : a.dresidual_TD + t * a.width;
    const float mean = kLayer ? a.mean_T[t] : 0.0F, rstd = a.rstd_T[t];
    const auto normed = [&](auto d, int64_t i) HWY_ATTR {
      const auto v = LoadFloats(d, x + i);
      return hn::Mul(kLayer ? hn::Sub(v, hn::Set(d, mean)) : v, hn::Set(d, rstd));
    };
    const auto weight = [&](auto d, int64_t i) HWY_ATTR {
      return hn::Add(LoadFloats(d, a.weight_D + i), hn::Set(d, a.weight_offset));
    };
    LaneSum g_sum, gh_sum;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto h = normed(d, i);
      const auto dy_i = LoadFloats(d, dy + i);
      const auto g = hn::Mul(dy_i, weight(d, i));
      hn::StoreU(hn::MulAdd(dy_i, h, hn::LoadU(d, dweight_D + i)), d, dweight_D + i);
      if (kLayer) {
        hn::StoreU(hn::Add(dy_i, hn::LoadU(d, dbias_D + i)), d, dbias_D + i);
        g_sum.Add(d, g);
      }
      gh_sum.MulAdd(d, g, h);
    });
    const float g_mean = kLayer ? g_sum.Total() / width : 0.0F, gh_mean = gh_sum.Total() / width;
    ForLanes(a.width, [&](auto d, int64_t i) HWY_ATTR {
      auto g = hn::Mul(LoadFloats(d, dy + i), weight(d, i));
      if (kLayer) g = hn::Sub(g, hn::Set(d, g_mean));
      auto out = hn::Mul(hn::NegMulAdd(normed(d, i), hn::Set(d, gh_mean), g), hn::Set(d, rstd));
      if (dresidual != nullptr) out = hn::Add(out, LoadFloats(d, dresidual + i));
      StoreFloats(out, d, dx + i);
    });
  }
}

#define TRAINYARD_NORMS(Suffix, Real)                                                     \
  void RmsForward##Suffix(const NormForwardArgs<Real>& a, int64_t begin, int64_t end) {   \
    RmsForward(a, begin, end);                                                            \
  }                                                                                       \
  void LayerForward##Suffix(const NormForwardArgs<Real>& a, int64_t begin, int64_t end) { \
    LayerForward(a, begin, end);                                                          \
  }                                                                                       \
  void RmsBackward##Suffix(const NormBackwardArgs<Real>& a, int64_t begin, int64_t end,   \
                           float* dweight_D, float* dbias_D) {                            \
    Backward<false>(a, begin, end, dweight_D, dbias_D);                                   \
  }                                                                                       \
  void LayerBackward##Suffix(const NormBackwardArgs<Real>& a, int64_t begin, int64_t end, \
                             float* dweight_D, float* dbias_D) {                          \
    Backward<true>(a, begin, end, dweight_D, dbias_D);                                    \
  }
TRAINYARD_NORMS(F32, float)
TRAINYARD_NORMS(Bf16, Bfloat16)
#undef TRAINYARD_NORMS

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

constexpr int64_t kRowsGrain = 16;

template <class Args, class Rows>
void OverRows(const Args& args, Rows rows) {
  at::parallel_for(0, args.tokens, kRowsGrain,
                   [&](int64_t begin, int64_t end) { rows(args, begin, end); });
}

// Every piece of rows sums the parameters' gradients by itself; the sums are added in the order of
// the pieces, so the bits depend on their number alone.
template <class Args, class Rows>
void OverRowsWithSums(const Args& args, Rows rows) {
  const int64_t pieces = std::clamp<int64_t>(args.tokens / kRowsGrain, 1, at::get_num_threads());
  std::vector<float> sums(static_cast<size_t>(2 * pieces * args.width));
  const auto dweight_of = [&](int64_t piece) { return sums.data() + 2 * piece * args.width; };
  at::parallel_for(0, pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      rows(args, piece * args.tokens / pieces, (piece + 1) * args.tokens / pieces,
           dweight_of(piece), dweight_of(piece) + args.width);
    }
  });
  for (int64_t piece = 0; piece < pieces; ++piece) {
    for (int64_t i = 0; i < args.width; ++i) {
      args.dweight_D[i] += dweight_of(piece)[i];
      if (args.dbias_D != nullptr) args.dbias_D[i] += dweight_of(piece)[args.width + i];
    }
  }
}

}  // namespace

#define TRAINYARD_NORMS(Suffix, Real)                                    \
  HWY_EXPORT(RmsForward##Suffix);                                        \
  HWY_EXPORT(LayerForward##Suffix);                                      \
  HWY_EXPORT(RmsBackward##Suffix);                                       \
  HWY_EXPORT(LayerBackward##Suffix);                                     \
  template <>                                                            \
  void RmsNormForwardCpu<Real>(const NormForwardArgs<Real>& args) {      \
    OverRows(args, HWY_DYNAMIC_DISPATCH(RmsForward##Suffix));            \
  }                                                                      \
  template <>                                                            \
  void LayerNormForwardCpu<Real>(const NormForwardArgs<Real>& args) {    \
    OverRows(args, HWY_DYNAMIC_DISPATCH(LayerForward##Suffix));          \
  }                                                                      \
  template <>                                                            \
  void RmsNormBackwardCpu<Real>(const NormBackwardArgs<Real>& args) {    \
    OverRowsWithSums(args, HWY_DYNAMIC_DISPATCH(RmsBackward##Suffix));   \
  }                                                                      \
  template <>                                                            \
  void LayerNormBackwardCpu<Real>(const NormBackwardArgs<Real>& args) {  \
    OverRowsWithSums(args, HWY_DYNAMIC_DISPATCH(LayerBackward##Suffix)); \
  }
TRAINYARD_NORMS(F32, float)
TRAINYARD_NORMS(Bf16, Bfloat16)
#undef TRAINYARD_NORMS

}  // namespace trainyard::worker
#endif  // HWY_ONCE

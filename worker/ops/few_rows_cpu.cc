#include "worker/ops/few_rows_cpu.h"

#include <ATen/Parallel.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/few_rows_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

template <class Real>
HWY_INLINE void Put(const FewRowsArgs<Real>& a, int64_t row, int64_t output, float sum) {
  const int64_t at = row * a.outputs + output;
  if (a.bias_O != nullptr) sum += static_cast<float>(a.bias_O[output]);
  if (a.residual_TO != nullptr) sum += static_cast<float>(a.residual_TO[at]);
  if (a.wide_out_TO != nullptr) {
    a.wide_out_TO[at] = sum;
  } else {
    a.out_TO[at] = static_cast<Real>(sum);
  }
}

// kRows rows of x against kOutputs rows of the weight.
template <int kRows, int kOutputs, class Real>
HWY_INLINE void Tile(const FewRowsArgs<Real>& a, int64_t row, int64_t output) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Real* x = a.x_TI + row * a.x_stride;
  const Real* weight = a.weight_OI + output * a.weight_stride;
  hn::Vec<Floats> sum[kRows][kOutputs];
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) sum[r][o] = hn::Zero(d);
  }
  int64_t i = 0;
  for (; i + lanes <= a.inputs; i += lanes) {
    hn::Vec<Floats> w[kOutputs];
    for (int o = 0; o < kOutputs; ++o) w[o] = LoadFloats(d, weight + o * a.weight_stride + i);
    for (int r = 0; r < kRows; ++r) {
      const auto v = LoadFloats(d, x + r * a.x_stride + i);
      for (int o = 0; o < kOutputs; ++o) sum[r][o] = hn::MulAdd(v, w[o], sum[r][o]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) {
      float total = hn::GetLane(hn::SumOfLanes(d, sum[r][o]));
      for (int64_t j = i; j < a.inputs; ++j) {
        total += static_cast<float>(x[r * a.x_stride + j]) *
                 static_cast<float>(weight[o * a.weight_stride + j]);
      }
      Put(a, row + r, output + o, total);
    }
  }
}

template <int kOutputs, class Real>
HWY_INLINE void AllRows(const FewRowsArgs<Real>& a, int64_t output) {
  int64_t row = 0;
  for (; row + 4 <= a.rows; row += 4) Tile<4, kOutputs>(a, row, output);
  for (; row < a.rows; ++row) Tile<1, kOutputs>(a, row, output);
}

// Outputs begin .. end - 1.
template <class Real>
void FewRows(const FewRowsArgs<Real>& a, int64_t begin, int64_t end) {
  int64_t output = begin;
  for (; output + 4 <= end; output += 4) AllRows<4>(a, output);
  for (; output < end; ++output) AllRows<1>(a, output);
}

void FewRowsF32(const FewRowsArgs<float>& a, int64_t begin, int64_t end) { FewRows(a, begin, end); }
void FewRowsBf16(const FewRowsArgs<Bfloat16>& a, int64_t begin, int64_t end) {
  FewRows(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {

HWY_EXPORT(FewRowsF32);
HWY_EXPORT(FewRowsBf16);

// Numbers of the weight that a thread reads at least.
constexpr int64_t kWeightsGrain = 65536;

template <>
void FewRowsCpu<float>(const FewRowsArgs<float>& args) {
  at::parallel_for(0, args.outputs, 1 + kWeightsGrain / args.inputs,
                   [&](int64_t begin, int64_t end) {
                     HWY_DYNAMIC_DISPATCH(FewRowsF32)(args, begin, end);
                   });
}
template <>
void FewRowsCpu<Bfloat16>(const FewRowsArgs<Bfloat16>& args) {
  at::parallel_for(0, args.outputs, 1 + kWeightsGrain / args.inputs,
                   [&](int64_t begin, int64_t end) {
                     HWY_DYNAMIC_DISPATCH(FewRowsBf16)(args, begin, end);
                   });
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

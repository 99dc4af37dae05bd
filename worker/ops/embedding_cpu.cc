#include <ATen/Parallel.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "worker/ops/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "worker/ops/embedding_cpu.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "worker/ops/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trainyard::worker {
namespace HWY_NAMESPACE {

// Columns begin .. end - 1 of the tokens in `order`.
template <class Real>
void AddRows(const EmbeddingBackwardArgs<Real>& a, const int64_t* order, int64_t begin,
             int64_t end) {
  for (int64_t n = 0; n < a.tokens; ++n) {
    const int64_t t = order[n];
    const Real* dy = a.dy_TD + t * a.width + begin;
    float* dweight = a.dweight_VD + a.ids_T[t] * a.width + begin;
    ForLanes(end - begin, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, dweight + i), LoadFloats(d, dy + i)), d, dweight + i);
    });
  }
}

void AddRowsF32(const EmbeddingBackwardArgs<float>& a, const int64_t* order, int64_t begin,
                int64_t end) {
  AddRows(a, order, begin, end);
}
void AddRowsBf16(const EmbeddingBackwardArgs<Bfloat16>& a, const int64_t* order, int64_t begin,
                 int64_t end) {
  AddRows(a, order, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace trainyard::worker
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trainyard::worker {
namespace {

HWY_EXPORT(AddRowsF32);
HWY_EXPORT(AddRowsBf16);

constexpr int64_t kColumnsGrain = 64;

// Threads share the columns, so every id's rows are added in the order of the tokens.
template <class Args, class Rows>
void OverColumns(const Args& args, Rows rows) {
  std::vector<int64_t> order(static_cast<size_t>(args.tokens));
  std::iota(order.begin(), order.end(), 0);
  // Tokens of one id together: their row of the gradient stays in the cache.
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return args.ids_T[a] < args.ids_T[b]; });
  at::parallel_for(0, args.width, kColumnsGrain,
                   [&](int64_t begin, int64_t end) { rows(args, order.data(), begin, end); });
}

}  // namespace

template <>
void EmbeddingBackwardCpu<float>(const EmbeddingBackwardArgs<float>& args) {
  OverColumns(args, HWY_DYNAMIC_DISPATCH(AddRowsF32));
}
template <>
void EmbeddingBackwardCpu<Bfloat16>(const EmbeddingBackwardArgs<Bfloat16>& args) {
  OverColumns(args, HWY_DYNAMIC_DISPATCH(AddRowsBf16));
}

}  // namespace trainyard::worker
#endif  // HWY_ONCE

#include "worker/parallel/sum.h"

#include <algorithm>

#include "worker/parallel/stream_copy.h"

namespace trainyard::worker {
namespace {

template <class T>
void AddPair(const T* __restrict a, const T* __restrict b, T* __restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
}

template <class T>
void AddTo(const T* __restrict a, T* __restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] += a[i];
}

template <class T>
void Sum(std::span<const T* const> sources, T* own, T* out, int64_t count) {
  constexpr int64_t kBlock = 1024;  // stays in the first-level cache
  alignas(64) T sum[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    if (sources.size() == 1) std::copy_n(sources[0] + begin, n, sum);
    if (sources.size() > 1) AddPair(sources[0] + begin, sources[1] + begin, sum, n);
    for (size_t r = 2; r < sources.size(); ++r) AddTo(sources[r] + begin, sum, n);
    std::copy_n(sum, n, own + begin);
    if (out != nullptr) StreamCopy(sum, out + begin, n * static_cast<int64_t>(sizeof(T)));
  }
}

}  // namespace

void SumInOrder(std::span<const float* const> sources, float* own, float* out, int64_t count) {
  Sum(sources, own, out, count);
}
void SumInOrder(std::span<const double* const> sources, double* own, double* out, int64_t count) {
  Sum(sources, own, out, count);
}

}  // namespace trainyard::worker

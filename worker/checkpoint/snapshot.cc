#include "worker/checkpoint/snapshot.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "common/thread.h"

namespace trainyard::worker {
namespace {

struct Copy {
  const float* from = nullptr;
  float* to = nullptr;
  int64_t count = 0;
};

// Does what lies in [begin, end) when the copies are thought of as one after the other.
void CopyRange(const std::vector<Copy>& copies, int64_t begin, int64_t end) {
  int64_t start = 0;  // of this copy
  for (const Copy& copy : copies) {
    const int64_t first = std::clamp<int64_t>(begin - start, 0, copy.count);
    const int64_t last = std::clamp<int64_t>(end - start, 0, copy.count);
    if (first < last) {
      std::memcpy(copy.to + first, copy.from + first,
                  static_cast<size_t>(last - first) * sizeof(float));
    }
    start += copy.count;
  }
}

}  // namespace

Status Snapshot::Reserve(std::span<const ParameterView> parameters) {
  int64_t values = 0;
  for (const ParameterView& view : parameters) {
    for (const float* part : {view.master, view.moment1, view.moment2}) {
      if (part != nullptr) values += view.count;
    }
  }
  if (values <= capacity_) return OkStatus();
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t bytes =
      (static_cast<size_t>(values) * sizeof(float) + kHugePage - 1) / kHugePage * kHugePage;
  values_.reset();
  capacity_ = 0;
  values_.reset(static_cast<float*>(std::aligned_alloc(kHugePage, bytes)));
  if (values_ == nullptr) {
    return ResourceExhausted("no {} MB of memory for the copy of a checkpoint", bytes / 1'000'000);
  }
  ::madvise(values_.get(), bytes, MADV_HUGEPAGE);  // fewer page faults, where they are to be had
  std::memset(values_.get(), 0, bytes);
  capacity_ = values;
  return OkStatus();
}

Status Snapshot::Take(std::span<const ParameterView> parameters, int threads) {
  RETURN_IF_ERROR(Reserve(parameters));
  std::vector<Copy> copies;
  float* free = values_.get();
  parameters_.assign(parameters.begin(), parameters.end());
  for (ParameterView& view : parameters_) {
    for (float** values : {&view.master, &view.moment1, &view.moment2}) {
      if (*values == nullptr) continue;
      copies.push_back({*values, free, view.count});
      *values = free;
      free += view.count;
    }
  }
  const int64_t total = free - values_.get();
  std::vector<Thread> others;
  for (int part = 1; part < threads; ++part) {
    others.emplace_back("snapshot", [&copies, total, part, threads] {
      CopyRange(copies, total * part / threads, total * (part + 1) / threads);
    });
  }
  CopyRange(copies, 0, total / std::max(threads, 1));
  return OkStatus();  // the others are joined here
}

}  // namespace trainyard::worker

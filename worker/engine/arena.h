// The memory of a process's large tensors: one range of addresses, of which the beginning is used.
// Where a tensor goes is common/plan/placer.h's rule, which the plan follows too.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/plan/placer.h"
#include "common/status.h"

namespace trainyard::worker {

// Thread-safe. Memory that was touched once stays with the process, so a step that takes what the
// one before it took has no page faults.
class Arena {
 public:
  // Reserves addresses, not memory, for `bytes`.
  static StatusOr<std::unique_ptr<Arena>> Reserve(int64_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Aligned to 64 bytes; null when the range is full, or when the process may not have more.
  void* Take(size_t bytes);
  void Give(void* taken);
  bool Owns(const void* pointer) const {
    return pointer >= base_ && pointer < base_ + reserved_bytes_;
  }

  int64_t high_bytes() const;  // the most that was in use, gaps included

 private:
  Arena(std::byte* base, int64_t reserved_bytes) : base_(base), reserved_bytes_(reserved_bytes) {}

  std::byte* const base_;
  const int64_t reserved_bytes_;
  mutable absl::Mutex mu_;
  plan::Placer placer_ ABSL_GUARDED_BY(mu_);
  int64_t usable_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // from base_; may be read and written
};

}  // namespace trainyard::worker

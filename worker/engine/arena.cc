#include "worker/engine/arena.h"

#include <sys/mman.h>

#include <cerrno>

namespace trainyard::worker {
namespace {

// Huge pages where the machine has them: a step reads and writes all of its memory.
constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace

StatusOr<std::unique_ptr<Arena>> Arena::Reserve(int64_t bytes) {
  bytes = RoundUp(bytes, kHugePage);
  // One page more, to begin where a huge page may.
  void* range = ::mmap(nullptr, static_cast<size_t>(bytes + kHugePage), PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return ErrnoStatus(errno, "reserving addresses for tensors");
  auto* begin = static_cast<std::byte*>(range);
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin) % kHugePage);
  const int64_t before = past == 0 ? 0 : kHugePage - past;
  if (before > 0) ::munmap(begin, static_cast<size_t>(before));
  if (before < kHugePage) {
    ::munmap(begin + before + bytes, static_cast<size_t>(kHugePage - before));
  }
  ::madvise(begin + before, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return std::unique_ptr<Arena>(new Arena(begin + before, bytes));
}

Arena::~Arena() { ::munmap(base_, static_cast<size_t>(reserved_bytes_)); }

void* Arena::Take(size_t bytes) {
  absl::MutexLock lock(&mu_);
  const int64_t offset = placer_.Take(static_cast<int64_t>(bytes));
  if (placer_.end() <= usable_bytes_) return base_ + offset;
  const int64_t wanted = RoundUp(placer_.end(), kHugePage);
  const bool fits = wanted <= reserved_bytes_;
  if (!fits || ::mprotect(base_ + usable_bytes_, static_cast<size_t>(wanted - usable_bytes_),
                          PROT_READ | PROT_WRITE) != 0) {
    placer_.Give(offset);
    return nullptr;
  }
  usable_bytes_ = wanted;
  return base_ + offset;
}

void Arena::Give(void* taken) {
  absl::MutexLock lock(&mu_);
  placer_.Give(static_cast<std::byte*>(taken) - base_);
}

int64_t Arena::high_bytes() const {
  absl::MutexLock lock(&mu_);
  return placer_.high();
}

}  // namespace trainyard::worker

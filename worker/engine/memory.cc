#include "worker/engine/memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "common/plan/meter.h"
#include "worker/engine/arena.h"

namespace trainyard::worker {
namespace {

// Lives as long as the process: torch frees tensors at its very end. Null: there is none.
Arena* g_arena = nullptr;

void Free(void* pointer) {
  if (pointer == nullptr) return;
  g_arena->Owns(pointer) ? g_arena->Give(pointer) : c10::free_cpu(pointer);
}

// Torch's allocator for CPU tensors.
class TensorAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* pointer = nullptr;
    if (bytes >= static_cast<size_t>(plan::kArenaBytesMin)) {
      pointer = g_arena->Take(bytes);
      if (pointer == nullptr) throw std::bad_alloc();  // the engine's verbs turn it into a Status
    } else {
      pointer = c10::alloc_cpu(bytes);
    }
    return {pointer, pointer, &Free, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

// Twice the machine's memory: what is not touched costs nothing, gaps included.
int64_t AddressBytes() { return 2 * int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

}  // namespace

void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);         // large blocks come from the heap too
  mallopt(M_TRIM_THRESHOLD, -1);  // whose end is never given back
  mallopt(M_ARENA_MAX, 1);        // and which is one for all threads
#endif
  if (g_arena != nullptr) return;
  StatusOr<std::unique_ptr<Arena>> arena = Arena::Reserve(AddressBytes());
  if (!arena.ok()) return;
  g_arena = arena->release();
  static TensorAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

int64_t ArenaHighBytes() { return g_arena == nullptr ? 0 : g_arena->high_bytes(); }

}  // namespace trainyard::worker

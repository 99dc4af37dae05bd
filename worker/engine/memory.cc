#include "worker/engine/memory.h"

#include <malloc.h>

namespace trainyard::worker {

void KeepFreedMemory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);         // large blocks come from the heap too
  mallopt(M_TRIM_THRESHOLD, -1);  // whose end is never given back
  mallopt(M_ARENA_MAX, 1);        // and which is one for all threads
#endif
}

}  // namespace trainyard::worker

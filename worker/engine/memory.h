// How a rank's process holds its memory.
#pragma once

#include <cstdint>

namespace trainyard::worker {

// Freed memory stays with the process and is used again. A step frees and takes the same large
// tensors over and over; by default glibc would give each back to the kernel and have it cleared
// anew, page by page: 215,000 minor faults in a step of a 124M model. CPU tensors of
// plan::kArenaBytesMin and more go to an arena (arena.h), whose size common/plan foretells; the
// rest of the process keeps what malloc frees. For the whole process; call it once, before the
// first tensor. Where addresses cannot be reserved, malloc holds the tensors too.
void KeepFreedMemory();

// The most bytes of the arena that were in use so far; 0 without one.
int64_t ArenaHighBytes();

}  // namespace trainyard::worker

// Plain loops that the compiler vectorises, once per instruction set; the best one is chosen when
// the program starts.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TRAINYARD_LOOP __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TRAINYARD_LOOP
#endif

namespace trainyard::worker {

// Elements below which a loop is not worth a second thread.
constexpr int64_t kLoopGrain = 32768;

}  // namespace trainyard::worker

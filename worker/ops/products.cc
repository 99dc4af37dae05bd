#include "worker/ops/products.h"

namespace trainyard::worker {

bool HasBfloat16Products() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512bf16") != 0;
  return has;
#else
  return false;  // oneDNN's pairs are an x86 layout
#endif
}

}  // namespace trainyard::worker

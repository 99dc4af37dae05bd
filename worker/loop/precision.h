// Which number format a rank computes in.
#pragma once

#include <string>
#include <string_view>

#include "common/status.h"
#include "worker/engine/engine.h"

namespace trainyard::worker {

// `name`: fp32 | bf16 | auto, as in train.precision. "auto" is bf16 on a GPU, and on a CPU only
// where it multiplies it fast: avx512_bf16 or amx_bf16 among the flags of `cpuinfo` (the text of
// /proc/cpuinfo). Elsewhere bf16 is emulated and slower than fp32. InvalidArgument for any other
// name.
StatusOr<Precision> ResolvePrecision(const std::string& name, Device device,
                                     std::string_view cpuinfo);

// The text of /proc/cpuinfo; empty when it cannot be read.
std::string ReadCpuInfo();

// "fp32" or "bf16".
std::string_view PrecisionName(Precision precision);

}  // namespace trainyard::worker

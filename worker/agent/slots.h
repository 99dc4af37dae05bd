// What this host offers to the scheduler: CPU shares, as many as the operator says, and the GPUs
// that NVML sees. Slot indices: the CPU shares first (0..n-1), then the GPUs in NVML's order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/status.h"

namespace trainyard::worker {

struct Gpu {
  std::string uuid;  // "GPU-…": what CUDA_VISIBLE_DEVICES takes, independent of any order
  std::string name;
  int64_t memory_bytes = 0;
};

struct LocalSlot {
  int32_t index = 0;
  std::string device = "cpu";  // cpu | cuda
  std::string description;     // for people: "AMD EPYC 9334, share 1 of 2"
  std::string cuda_device;     // for CUDA_VISIBLE_DEVICES; empty for a CPU share
};

// The GPUs of this host, through libnvidia-ml.so.1 loaded at run time. NotFound when the library is
// not installed, Unavailable when it is there but the driver does not answer.
StatusOr<std::vector<Gpu>> FindGpus(const std::string& library = "libnvidia-ml.so.1");

// "model name" of /proc/cpuinfo; `cpuinfo` is that file's text. "CPU" when it does not say.
std::string CpuName(const std::string& cpuinfo);

std::vector<LocalSlot> MakeSlots(int32_t cpu_shares, const std::string& cpu_name,
                                 const std::vector<Gpu>& gpus);

}  // namespace trainyard::worker

#include "worker/agent/slots.h"

#include <dlfcn.h>

#include <array>
#include <memory>

namespace trainyard::worker {
namespace {

// The few calls we need of the NVIDIA Management Library, declared as its reference manual
// documents them (docs.nvidia.com/deploy/nvml-api); 0 is NVML_SUCCESS.
struct NvmlMemory {
  unsigned long long total, free, used;
};
using NvmlDevice = void*;
using InitFunction = int();
using CountFunction = int(unsigned*);
using HandleFunction = int(unsigned, NvmlDevice*);
using TextFunction = int(NvmlDevice, char*, unsigned);
using MemoryFunction = int(NvmlDevice, NvmlMemory*);

struct LibraryCloser {
  void operator()(void* library) const { ::dlclose(library); }
};
using Library = std::unique_ptr<void, LibraryCloser>;

template <class Function>
StatusOr<Function*> Find(const Library& library, const char* name) {
  void* symbol = ::dlsym(library.get(), name);
  if (symbol == nullptr) return Unavailable("NVML has no function {}", name);
  return reinterpret_cast<Function*>(symbol);
}

StatusOr<Gpu> DescribeGpu(const Library& library, unsigned index) {
  ASSIGN_OR_RETURN(auto* handle_of, Find<HandleFunction>(library, "nvmlDeviceGetHandleByIndex_v2"));
  ASSIGN_OR_RETURN(auto* name_of, Find<TextFunction>(library, "nvmlDeviceGetName"));
  ASSIGN_OR_RETURN(auto* uuid_of, Find<TextFunction>(library, "nvmlDeviceGetUUID"));
  ASSIGN_OR_RETURN(auto* memory_of, Find<MemoryFunction>(library, "nvmlDeviceGetMemoryInfo"));
  NvmlDevice device = nullptr;
  std::array<char, 96> name{}, uuid{};
  NvmlMemory memory{};
  int error = handle_of(index, &device);
  if (error == 0) error = name_of(device, name.data(), name.size() - 1);
  if (error == 0) error = uuid_of(device, uuid.data(), uuid.size() - 1);
  if (error == 0) error = memory_of(device, &memory);
  if (error != 0) return Unavailable("NVML cannot describe GPU {} (error {})", index, error);
  return Gpu{uuid.data(), name.data(), static_cast<int64_t>(memory.total)};
}

}  // namespace

StatusOr<std::vector<Gpu>> FindGpus(const std::string& library_name) {
  const Library library(::dlopen(library_name.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) return NotFound("{} is not installed", library_name);
  ASSIGN_OR_RETURN(auto* init, Find<InitFunction>(library, "nvmlInit_v2"));
  ASSIGN_OR_RETURN(auto* shut_down, Find<InitFunction>(library, "nvmlShutdown"));
  ASSIGN_OR_RETURN(auto* count_gpus, Find<CountFunction>(library, "nvmlDeviceGetCount_v2"));
  if (const int error = init(); error != 0)
    return Unavailable("NVML cannot reach the driver (error {})", error);
  std::vector<Gpu> gpus;
  Status status = OkStatus();
  unsigned count = 0;
  if (const int error = count_gpus(&count); error != 0)
    status = Unavailable("NVML cannot count GPUs (error {})", error);
  for (unsigned i = 0; i < count && status.ok(); ++i) {
    StatusOr<Gpu> gpu = DescribeGpu(library, i);
    status = gpu.status();
    if (gpu.ok()) gpus.push_back(*std::move(gpu));
  }
  shut_down();
  RETURN_IF_ERROR(status);
  return gpus;
}

std::string CpuName(const std::string& cpuinfo) {
  const size_t key = cpuinfo.find("model name");
  if (key == std::string::npos) return "CPU";
  const size_t end_of_line = std::min(cpuinfo.find('\n', key), cpuinfo.size());
  const size_t colon = cpuinfo.find(": ", key);
  if (colon == std::string::npos || colon + 2 >= end_of_line) return "CPU";
  return cpuinfo.substr(colon + 2, end_of_line - colon - 2);
}

std::vector<LocalSlot> MakeSlots(int32_t cpu_shares, const std::string& cpu_name,
                                 const std::vector<Gpu>& gpus) {
  std::vector<LocalSlot> slots;
  for (int32_t i = 0; i < cpu_shares; ++i)
    slots.push_back({i, "cpu", fmt::format("{}, share {} of {}", cpu_name, i + 1, cpu_shares), ""});
  for (const Gpu& gpu : gpus)
    slots.push_back({static_cast<int32_t>(slots.size()), "cuda",
                     fmt::format("{}, {} GiB", gpu.name, gpu.memory_bytes >> 30), gpu.uuid});
  return slots;
}

}  // namespace trainyard::worker

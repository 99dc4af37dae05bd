// Where an engine computes.
#pragma once

#include <string_view>

#include "common/status.h"

namespace trainyard::worker {

enum class Device { kCpu, kCuda };

// "cpu" or "cuda", as in resources.device. InvalidArgument for any other name.
StatusOr<Device> DeviceFromName(std::string_view name);

// Whether this process can compute there; the first call wakes the GPU's driver. FailedPrecondition
// when the program was built without CUDA (-DTRAINYARD_CUDA=ON) or sees no GPU.
Status PrepareDevice(Device device);

// "cpu" or "cuda".
std::string_view DeviceName(Device device);

}  // namespace trainyard::worker

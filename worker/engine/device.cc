#include "worker/engine/device.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <exception>

namespace trainyard::worker {

StatusOr<Device> DeviceFromName(std::string_view name) {
  if (name == "cpu") return Device::kCpu;
  if (name == "cuda") return Device::kCuda;
  return WithField(InvalidArgument("resources.device is '{}'; write cpu or cuda", name),
                   "resources.device");
}

Status PrepareDevice(Device device) {
  if (device == Device::kCpu) return OkStatus();
  try {
    if (!at::detail::getCUDAHooks().hasCUDA()) {
      return FailedPrecondition(
          "this trainer cannot use a GPU: it was built without CUDA (-DTRAINYARD_CUDA=ON), or no "
          "driver or GPU is visible to it");
    }
    at::globalContext().lazyInitDevice(at::kCUDA);
    return OkStatus();
  } catch (const c10::Error& error) {
    return FailedPrecondition("the GPU cannot be used: {}", error.what_without_backtrace());
  } catch (const std::exception& error) {
    return FailedPrecondition("the GPU cannot be used: {}", error.what());
  }
}

std::string_view DeviceName(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

}  // namespace trainyard::worker

// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include "worker/engine/device.h"

namespace trainyard::worker {

// Asked once: without a driver CUDA takes a second to say so.
inline const Status& GpuIsReady() {
  static const Status ready = PrepareDevice(Device::kCuda);
  return ready;
}

}  // namespace trainyard::worker

// These tests pass anywhere: without a GPU they say so and are skipped.
#define SKIP_WITHOUT_GPU()                     \
  if (!::trainyard::worker::GpuIsReady().ok()) \
  GTEST_SKIP() << ::trainyard::MessageOf(::trainyard::worker::GpuIsReady())

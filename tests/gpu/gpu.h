// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include "worker/engine/device.h"

// These tests pass anywhere: without a GPU they say so and are skipped.
#define SKIP_WITHOUT_GPU()                                                                       \
  if (const auto ready = ::trainyard::worker::PrepareDevice(::trainyard::worker::Device::kCuda); \
      !ready.ok()) {                                                                             \
    GTEST_SKIP() << ::trainyard::MessageOf(ready);                                               \
  }                                                                                              \
  static_assert(true)

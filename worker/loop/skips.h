// Updates that were skipped because a gradient was not finite, and when they are too many.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "worker/loop/step_sums.h"

namespace trainyard::worker {

constexpr int64_t kSkipsInARowMax = 5;
constexpr int64_t kSkipsMax = 20;

// Part of every checkpoint. Every rank sees the same sums, so every rank decides the same.
struct Skips {
  int64_t total = 0;
  int64_t in_a_row = 0;

  // Counts a step. An error, with the reason LOSS_NOT_FINITE, once the job should not go on.
  Status Count(const StepReport& report);
  bool operator==(const Skips&) const = default;
};

// Of a step whose update was skipped: which tensor, what loss, on which rank.
std::string WhatWasSkipped(const StepReport& report);

}  // namespace trainyard::worker

// Times a probe (common/plan/probe.h) in float32 and in bfloat16, by turns, through the engine.
#pragma once

#include "common/plan/probe.h"
#include "common/status.h"
#include "worker/data/batch.h"

namespace trainyard::worker {

// The shortest of a few turns each, after one that warms up. Where one format needs more than twice
// the other's time in the first turn there are no more. Errors of Engine::Create;
// ResourceExhausted when the host has not the memory.
StatusOr<plan::Paces> MeasurePaces(const plan::Probe& probe);

// Rows of ids that look like noise; a share of the places learns, evenly spread.
Batch NoiseRows(int64_t rows, int64_t length, int64_t vocab, double learning);

}  // namespace trainyard::worker

// What the worker tells Prometheus about itself. Series of jobs come from the coordinator only.
#pragma once

#include <absl/time/time.h>

#include <string>
#include <vector>

#include "worker/agent/agent.h"
#include "worker/agent/slots.h"

namespace trainyard::worker {

// Prometheus text, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
std::string MetricsText(const std::string& worker_id, const AgentNumbers& numbers,
                        const std::vector<LocalSlot>& slots);

}  // namespace trainyard::worker

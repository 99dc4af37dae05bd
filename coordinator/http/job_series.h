// The series about jobs, queue and slots that the coordinator alone exports: the newest values of
// each job that runs or ended less than five minutes ago, and what the scheduler sees.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "common/clock.h"
#include "coordinator/coordinator.h"

namespace trainyard::coordinator {

class JobSeries final : public prometheus::Collectable {
 public:
  // Both outlive this object.
  JobSeries(const Coordinator& coordinator, const Clock& clock)
      : coordinator_(coordinator), clock_(clock) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Coordinator& coordinator_;
  const Clock& clock_;
};

}  // namespace trainyard::coordinator

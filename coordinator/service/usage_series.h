// The series about the disk of the coordinator's store: what was measured last.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "coordinator/service/usage.h"

namespace trainyard::coordinator {

class UsageSeries final : public prometheus::Collectable {
 public:
  // `meter` outlives this object.
  explicit UsageSeries(const UsageMeter& meter) : meter_(meter) {}
  // Nothing before the first measurement.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const UsageMeter& meter_;
};

}  // namespace trainyard::coordinator

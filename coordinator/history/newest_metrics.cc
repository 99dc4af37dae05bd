#include "coordinator/history/newest_metrics.h"

#include <algorithm>

namespace trainyard::coordinator {

NewestMetrics NewestOf(const std::vector<Point>& points) {
  AttemptNumber newest = 0;
  for (const Point& point : points)
    if (point.rank == 0) newest = std::max(newest, point.attempt);
  NewestMetrics metrics;
  std::map<std::string, int64_t> step_of;
  for (const Point& point : points) {
    if (point.rank != 0 || point.attempt != newest) continue;
    const auto [step, is_first] = step_of.emplace(point.name, point.step);
    if (!is_first && point.step < step->second) continue;
    step->second = point.step;
    metrics.values[point.name] = point.value;
    metrics.step = std::max(metrics.step, point.step);
  }
  return metrics;
}

}  // namespace trainyard::coordinator

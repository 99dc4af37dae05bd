// What a job's metrics last said, from its stored points: what a coordinator that starts again shows
// until the trainers speak.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/history/point_block.h"

namespace trainyard::coordinator {

struct NewestMetrics {
  int64_t step = -1;  // of the newest point; -1: there is none
  std::map<std::string, double> values;
};

// Of the first rank, which speaks for the job, in the newest attempt that said anything.
NewestMetrics NewestOf(const std::vector<Point>& points);

}  // namespace trainyard::coordinator

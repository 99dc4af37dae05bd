#include "worker/loop/step_log.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace trainyard::worker {

void StepLog::Tell(RankLink& link, const StepReport& report, StepClock& step_clock) {
  const double steps = static_cast<double>(std::max<int64_t>(1, std::exchange(steps_, 0)));
  const double seconds = absl::ToDoubleSeconds(std::exchange(time_, absl::ZeroDuration())) / steps;
  const auto places = static_cast<double>(report.places);
  const double tokens_total = places * static_cast<double>(report.step);
  const double tokens_per_second = places / std::max(seconds, 1e-9);
  std::vector<std::pair<std::string, double>> points = {
      {"loss", report.sums.loss()},
      {"learning_rate", report.learning_rate},
      {"grad_norm", report.update.grad_norm},
      {"mean_token_accuracy", report.sums.matches / static_cast<double>(report.targets)},
      {"tokens_per_second", tokens_per_second},
      {"tokens_total", tokens_total},
      {"step_seconds", seconds},
      {"epoch", tokens_total / static_cast<double>(places_per_epoch_)}};
  const auto phases = step_clock.Take();
  for (size_t i = 0; i < kStepPhases; ++i) {
    points.emplace_back(fmt::format("step_phase_seconds/{}", kStepPhaseNames[i]),
                        absl::ToDoubleSeconds(phases[i]) / steps);
  }
  link.Metrics(report.step, points);
  spdlog::info("step={} loss={:.6f} lr={:.4g} grad_norm={:.4g} tokens_per_second={:.0f}",
               report.step, report.sums.loss(), report.learning_rate, report.update.grad_norm,
               tokens_per_second);
}

}  // namespace trainyard::worker

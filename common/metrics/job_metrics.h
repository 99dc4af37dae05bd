// The one table of a job's metrics: the names they have inside the job (history, CLI, pages,
// TensorBoard; TRL's and Hugging Face's words) and in Prometheus.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trainyard {

struct JobMetric {
  std::string_view name;        // "loss", "completions/mean_length"
  std::string_view prometheus;  // "trainyard_train_loss"
  std::string_view help;
  bool is_counter = false;  // only grows within an attempt
};

const std::vector<JobMetric>& JobMetrics();
// Null for metrics that are kept in the history only.
const JobMetric* FindJobMetric(std::string_view name);

// "step_phase_seconds/forward": where a step's time goes; a histogram over all jobs in Prometheus.
inline constexpr std::string_view kStepPhasePrefix = "step_phase_seconds/";

// The table as Markdown, as docs/protocol.md shows it.
std::string JobMetricsMarkdown();

}  // namespace trainyard

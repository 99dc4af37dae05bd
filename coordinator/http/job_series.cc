#include "coordinator/http/job_series.h"

#include <map>
#include <memory>

#include "common/metrics/job_metrics.h"
#include "common/metrics/registry.h"
#include "common/version.h"

namespace trainyard::coordinator {
namespace {

using prometheus::MetricType;

constexpr absl::Duration kKeepAfterEnd = absl::Minutes(5);
constexpr int64_t kJobsMax = 500;  // series are bounded, however many jobs there are
constexpr int64_t kEndedMax = 50;

// Families by name, in the order of first use.
class Families {
 public:
  FamilyBuilder& Of(std::string_view name, std::string_view help, MetricType type) {
    auto it = by_name_.find(name);
    if (it == by_name_.end())
      it = by_name_.emplace(name, std::make_unique<FamilyBuilder>(name, help, type)).first;
    return *it->second;
  }
  std::vector<prometheus::MetricFamily> Take() {
    std::vector<prometheus::MetricFamily> families;
    for (auto& [name, family] : by_name_)
      if (!family->empty()) families.push_back(family->Take());
    return families;
  }

 private:
  std::map<std::string, std::unique_ptr<FamilyBuilder>, std::less<>> by_name_;
};

std::vector<JobView> JobsToShow(const Coordinator& coordinator, absl::Time now) {
  std::vector<JobView> shown;
  for (const JobState state : {JobState::kStarting, JobState::kRunning, JobState::kRecovering,
                               JobState::kPreempting, JobState::kPausing, JobState::kCancelling,
                               JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    const bool ended = !HoldsSlots(state);
    JobFilter filter;
    filter.state = state;
    filter.limit = ended ? kEndedMax : kJobsMax;
    const auto page = coordinator.List(filter);
    if (!page.ok()) continue;
    for (const auto& job : page->value.jobs)
      if (!ended || now - job.job->end_time < kKeepAfterEnd) shown.push_back(job);
  }
  return shown;
}

void AddJob(const JobView& view, const std::map<std::string, double>& metrics, Families& families) {
  const Job& job = *view.job;
  const FamilyBuilder::Labels id = {{"job_id", job.id.value}};
  families
      .Of("trainyard_job_info", "A job that runs or has just ended; always 1.", MetricType::Gauge)
      .Add({{"job_id", job.id.value},
            {"name", job.spec->name},
            {"kind", job.spec->kind},
            {"state", std::string(JobStateName(job.state))}},
           1);
  families.Of("trainyard_job_attempts_total", "Attempts of the job so far.", MetricType::Counter)
      .Add(id, job.attempts.empty() ? 0 : job.attempts.back().number);
  families.Of("trainyard_train_step", "Steps done, as last heard.", MetricType::Gauge)
      .Add(id, double(view.step));
  families.Of("trainyard_train_max_steps", "Steps of the job.", MetricType::Gauge)
      .Add(id, double(job.spec->train.max_steps));
  for (const auto& [name, value] : metrics)
    if (const JobMetric* metric = FindJobMetric(name); metric != nullptr)
      families
          .Of(metric->prometheus, metric->help,
              metric->is_counter ? MetricType::Counter : MetricType::Gauge)
          .Add(id, value);
  if (const Checkpoint* newest = NewestCheckpoint(job); newest != nullptr) {
    families
        .Of("trainyard_checkpoint_last_success_timestamp_seconds",
            "When the newest checkpoint was recorded, in seconds since 1970.", MetricType::Gauge)
        .Add(id, absl::ToDoubleSeconds(newest->time - absl::UnixEpoch()));
    families
        .Of("trainyard_checkpoint_last_step", "Step of the newest recorded checkpoint.",
            MetricType::Gauge)
        .Add(id, double(newest->step));
  }
}

void AddCluster(const Coordinator& coordinator, absl::Time now, Families& families) {
  const CoordinatorStats stats = coordinator.Stats();
  for (const auto& [state, jobs] : stats.jobs)
    families.Of("trainyard_jobs", "Jobs by state.", MetricType::Gauge)
        .Add({{"state", std::string(JobStateName(state))}}, double(jobs));
  const auto gauge = [&](const char* name, const char* help, double value) {
    families.Of(name, help, MetricType::Gauge).Add({}, value);
  };
  gauge("trainyard_queue_jobs", "Jobs that wait for slots.", double(stats.queue_jobs));
  gauge("trainyard_queue_oldest_wait_seconds", "How long the first of them has waited.",
        stats.oldest_wait_seconds);
  gauge("trainyard_slots", "Slots of reachable workers.", double(stats.slots));
  gauge("trainyard_slots_in_use", "Sum of the shares in use.", stats.slots_in_use);
  gauge("trainyard_workers_reachable", "Workers that reported lately.",
        double(stats.workers_reachable));
  const auto counter = [&](const char* name, const char* help, int64_t value) {
    families.Of(name, help, MetricType::Counter).Add({}, double(value));
  };
  counter("trainyard_stale_messages_total",
          "Messages of older attempts or older lives of workers: refused by the fence.",
          stats.counters.stale_messages);
  counter("trainyard_attempts_started_total", "Attempts started.", stats.counters.attempts_started);
  counter("trainyard_ranks_hung_total", "Ranks that made no progress in time.",
          stats.counters.ranks_hung);
  counter("trainyard_ranks_lost_total", "Ranks whose worker was lost.", stats.counters.ranks_lost);
  counter("trainyard_checkpoints_recorded_total", "Checkpoints recorded.",
          stats.counters.checkpoints_recorded);
  for (const auto& [how, jobs] : stats.counters.jobs_ended)
    families
        .Of("trainyard_jobs_ended_total", "Jobs that ended, by state and reason.",
            MetricType::Counter)
        .Add({{"state", std::string(JobStateName(how.first))}, {"reason", how.second}},
             double(jobs));
  families
      .Of("trainyard_build_info", "The version of this coordinator; always 1.", MetricType::Gauge)
      .Add({{"version", kVersion}}, 1);
  for (const Worker& worker : coordinator.Workers())
    families
        .Of("trainyard_worker_heartbeat_age_seconds", "Since the worker last reported.",
            MetricType::Gauge)
        .Add({{"worker", worker.id.value}}, absl::ToDoubleSeconds(now - worker.last_report));
}

}  // namespace

std::vector<prometheus::MetricFamily> JobSeries::Collect() const {
  const absl::Time now = clock_.Now();
  Families families;
  for (const auto& job : JobsToShow(coordinator_, now))
    AddJob(job, coordinator_.LatestMetrics(job.job->id), families);
  AddCluster(coordinator_, now, families);
  return families.Take();
}

}  // namespace trainyard::coordinator

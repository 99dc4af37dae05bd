#include "coordinator/coordinator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/job_spec/retry.h"
#include "common/job_spec/validate.h"
#include "coordinator/attempts.h"
#include "coordinator/desired.h"
#include "coordinator/explain.h"
#include "coordinator/fits.h"
#include "coordinator/ledger.h"
#include "coordinator/reports.h"
#include "coordinator/tick.h"

namespace trainyard::coordinator {
namespace {

constexpr int64_t kPageMax = 1'000;
constexpr size_t kMetricNamesMax = 200;
constexpr int64_t kEventsExplained = 15;

using JobAnswer = Answer<std::shared_ptr<const Job>>;

JobAnswer AnswerOf(const JobEntry& entry) { return {entry.job, entry.last_sequence}; }

bool Matches(const Job& job, const JobFilter& filter) {
  return job.project == filter.project && (!filter.state || job.state == *filter.state) &&
         (filter.display_name.empty() || job.spec->name == filter.display_name);
}

// Where in `jobs` the page begins. The page token is the position of its first job, or of one that
// was deleted since.
StatusOr<int64_t> FirstOfPage(const JobFilter& filter, const std::vector<JobEntry*>& jobs) {
  const auto n_jobs = static_cast<int64_t>(jobs.size());
  if (filter.page_token.empty()) return filter.newest_first ? n_jobs - 1 : 0;
  int64_t position = -1;
  const char* end = filter.page_token.data() + filter.page_token.size();
  const auto [stop, error] = std::from_chars(filter.page_token.data(), end, position);
  const int64_t last = jobs.empty() ? -1 : jobs.back()->position;
  if (error != std::errc() || stop != end || position < 0 || position > last) {
    return WithField(InvalidArgument("page_token: {} is not one of ours", filter.page_token),
                     "page_token");
  }
  const auto first = std::partition_point(jobs.begin(), jobs.end(), [&](const JobEntry* entry) {
    return filter.newest_first ? entry->position <= position : entry->position < position;
  });
  return first - jobs.begin() - (filter.newest_first ? 1 : 0);
}

// Whoever reads the history of a job that was running sees that the coordinator was away.
Status TellOfRestart(Ledger& ledger) {
  const std::vector<JobId> active(ledger.active().begin(), ledger.active().end());
  for (const JobId& job : active) {
    JobEntry& entry = *ledger.Find(job);
    const Attempt* open = OpenAttempt(*entry.job);
    if (open == nullptr) continue;
    RETURN_IF_ERROR(ledger.Emit(
        entry, "coordinator",
        {Happened("CoordinatorRestarted", open->number,
                  fmt::format("the coordinator started again; attempt {} goes on", open->number),
                  Json::object())}));
  }
  return OkStatus();
}

// Ranks know best. Before they have spoken, and after they are gone, the newest metrics do.
int64_t StepOf(const JobEntry& entry) {
  const Job& job = *entry.job;
  const Checkpoint* newest = NewestCheckpoint(job);
  int64_t step = newest == nullptr ? 0 : newest->step;
  const bool heard = std::any_of(entry.ranks.begin(), entry.ranks.end(),
                                 [](const RankState& rank) { return rank.live.step > 0; });
  if (!heard) step = std::max(step, entry.metrics_step);
  for (const RankState& rank : entry.ranks) step = std::max(step, rank.live.step);
  return std::min(step, job.spec->train.max_steps);
}

JobView ViewOf(const JobEntry& entry, absl::Time now) {
  JobView view{entry.job, {}, StepOf(entry)};
  for (const RankState& rank : entry.ranks) {
    view.ranks.push_back(rank.live);
    if (rank.gone) view.ranks.back().process = "exited";
    if (rank.seen && !rank.gone) view.ranks.back().beat_age += now - rank.last_seen;
  }
  return view;
}

// What each rank of the open attempt last said that it does.
Json PhasesOf(const JobEntry& entry) {
  Json phases = Json::array();
  for (const RankState& rank : entry.ranks) phases.push_back(rank.live.phase);
  return phases;
}

// Whether a stop may lose steps that a checkpoint would keep: evaluations write none, and an
// attempt that does not run yet has done none.
bool HasStepsToSave(const Job& job) {
  const Attempt* open = OpenAttempt(job);
  return job.state == JobState::kRunning && open != nullptr && !IsEnding(*open) &&
         job.spec->kind != "evaluate";
}

// Decisions of the coordinator itself that the store could not take come again.
void LogUntaken(std::string_view what, const Status& status) {
  if (!status.ok()) spdlog::warn("{} waits: {}", what, MessageOf(status));
}

// The newest recorded checkpoint whose folder is there; null without one. Those after it, which
// stand in `removed`, are dropped.
const Checkpoint* DropRemoved(const Job& job, const std::vector<std::string>& removed,
                              std::vector<Change>& changes) {
  for (auto it = job.checkpoints.rbegin(); it != job.checkpoints.rend(); ++it) {
    if (std::find(removed.begin(), removed.end(), it->key) == removed.end()) return &*it;
    changes.push_back(CheckpointDeleted(*it, "its folder was removed by hand"));
  }
  return nullptr;
}

// The change of the spec that a retry asks for.
StatusOr<Change> SpecForRetry(const Job& job, const Checkpoint* newest,
                              const std::vector<std::string>& sets,
                              const std::vector<Worker>& workers) {
  ASSIGN_OR_RETURN(const ResolvedSpec changed, ChangeForRetry({*job.spec, job.origins}, sets));
  if (newest != nullptr && changed.spec.train.max_steps < newest->step)
    return WithField(
        InvalidArgument("train.max_steps: {} is less than the {} steps that the newest "
                        "checkpoint has behind it",
                        changed.spec.train.max_steps, newest->step),
        "train.max_steps");
  RETURN_IF_ERROR(CheckFits(changed.spec, workers));
  return JobSpecChanged(changed.spec, changed.origins, sets);
}

}  // namespace

StatusOr<std::unique_ptr<Coordinator>> Coordinator::Open(const CoordinatorOptions& options,
                                                         const Clock& clock, Store& store) {
  ASSIGN_OR_RETURN(std::unique_ptr<Ledger> ledger, Ledger::Load(options, clock, store));
  if (const Status told = TellOfRestart(*ledger); !told.ok()) {
    spdlog::warn("jobs' histories do not say that the coordinator started: {}", MessageOf(told));
  }
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(ledger), store));
}

Coordinator::Coordinator(std::unique_ptr<Ledger> ledger, Store& store)
    : store_(store), ledger_(std::move(ledger)), listeners_(std::make_shared<const Listeners>()) {}

Coordinator::~Coordinator() = default;

void Coordinator::SetListeners(Listeners listeners) {
  absl::MutexLock lock(&mu_);
  listeners_ = std::make_shared<const Listeners>(std::move(listeners));
}

void Coordinator::Announce(const Notices& notices) {
  std::shared_ptr<const Listeners> listeners;
  {
    absl::MutexLock lock(&mu_);
    listeners = listeners_;
  }
  for (const JobId& job : notices.jobs) {
    if (listeners->job_changed) listeners->job_changed(job);
  }
  for (const WorkerId& worker : notices.workers) {
    if (listeners->desired_changed) listeners->desired_changed(worker);
  }
}

StatusOr<JobAnswer> Coordinator::Create(const Actor& actor, JobSpec spec,
                                        std::map<std::string, std::string> origins,
                                        std::string_view request_id, std::string_view id_suffix) {
  RETURN_IF_ERROR(Validate(spec));
  RETURN_IF_ERROR(ValidateUploaded(spec));
  const Status fits = CheckFits(spec, Workers());
  Job job;
  job.spec = std::make_shared<const JobSpec>(std::move(spec));
  job.origins = std::move(origins);
  job.request_id = request_id;
  Notices notices;
  StatusOr<JobAnswer> answer;
  {
    absl::MutexLock lock(&mu_);
    if (const JobEntry* known = ledger_->FindRequest(actor, request_id)) return AnswerOf(*known);
    RETURN_IF_ERROR(fits);
    const auto n_jobs = static_cast<int64_t>(ledger_->jobs().size());
    if (n_jobs >= ledger_->options().jobs_max) {
      return WithReason(ResourceExhausted("{} jobs are kept, which is the limit", n_jobs),
                        "TOO_MANY_JOBS");
    }
    ASSIGN_OR_RETURN(JobEntry * entry, ledger_->Create(actor, std::move(job), id_suffix));
    answer = AnswerOf(*entry);
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return answer;
}

StatusOr<Answer<JobView>> Coordinator::Get(std::string_view ref) const {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const JobEntry* entry, std::as_const(*ledger_).Resolve(ref));
  return Answer<JobView>{ViewOf(*entry, ledger_->Steady()), entry->last_sequence};
}

StatusOr<Answer<JobPage>> Coordinator::List(const JobFilter& filter) const {
  absl::MutexLock lock(&mu_);
  const std::vector<JobEntry*>& jobs = ledger_->jobs();
  const auto n_jobs = static_cast<int64_t>(jobs.size());
  ASSIGN_OR_RETURN(int64_t index, FirstOfPage(filter, jobs));
  const int64_t limit = std::clamp<int64_t>(filter.limit, 1, kPageMax);
  const int64_t step = filter.newest_first ? -1 : 1;
  Answer<JobPage> answer;
  for (; index >= 0 && index < n_jobs; index += step) {
    const JobEntry& entry = *jobs[static_cast<size_t>(index)];
    if (!Matches(*entry.job, filter)) continue;
    if (static_cast<int64_t>(answer.value.jobs.size()) == limit) {
      answer.value.next_page_token = std::to_string(entry.position);
      break;
    }
    answer.value.jobs.push_back(ViewOf(entry, ledger_->Steady()));
    answer.durable_after = std::max(answer.durable_after, entry.last_sequence);
  }
  return answer;
}

StatusOr<JobAnswer> Coordinator::Cancel(const Actor& actor, std::string_view ref, bool now,
                                        std::string_view etag) {
  Notices notices;
  StatusOr<JobAnswer> answer;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(JobEntry * entry, ledger_->Resolve(ref));
    const Job& job = *entry->job;
    const bool hurries = job.state == JobState::kCancelling && now && !job.cancel_now;
    if (job.state == JobState::kCancelled || (job.state == JobState::kCancelling && !hurries)) {
      return AnswerOf(*entry);
    }
    RETURN_IF_ERROR(CheckEtag(job, etag));
    if (IsFinal(job.state)) {
      return WithReason(
          FailedPrecondition("job {} has ended: it is {}", job.id.value, JobStateName(job.state)),
          "JOB_ENDED");
    }
    const Why why = {"CANCELLED", ReasonOwner::kUser, fmt::format("cancelled by {}", actor)};
    const bool at_once = OpenAttempt(job) == nullptr && IsLegal(job.state, JobState::kCancelled);
    const bool saves = !now && HasStepsToSave(job);
    Change change =
        hurries ? JobNoted(why)
                : JobStateChanged(job.state, at_once ? JobState::kCancelled : JobState::kCancelling,
                                  why);
    change.payload["cancel_now"] = !saves;
    change.payload["phases"] = PhasesOf(*entry);
    RETURN_IF_ERROR(saves ? ledger_->Emit(*entry, actor, {change})
                          : StopAttempt(*ledger_, *entry, actor, change, why));
    answer = AnswerOf(*entry);
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return answer;
}

StatusOr<JobAnswer> Coordinator::Retry(const Actor& actor, std::string_view ref,
                                       std::string_view etag, const std::vector<std::string>& sets,
                                       const std::vector<std::string>& removed) {
  const std::vector<Worker> workers = Workers();
  Notices notices;
  StatusOr<JobAnswer> answer;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(JobEntry * entry, ledger_->Resolve(ref));
    const Job& job = *entry->job;
    RETURN_IF_ERROR(CheckEtag(job, etag));
    if (job.state != JobState::kFailed) {
      return WithReason(FailedPrecondition("only a FAILED job can be retried; {} is {}",
                                           job.id.value, JobStateName(job.state)),
                        "JOB_NOT_FAILED");
    }
    std::vector<Change> changes;
    const Checkpoint* newest = DropRemoved(job, removed, changes);
    std::string from =
        newest == nullptr ? "from the beginning" : fmt::format("from step {}", newest->step);
    if (!changes.empty())
      from += fmt::format(" (checkpoint {}: its folder was removed by hand)",
                          NewestCheckpoint(job)->step);
    if (!sets.empty()) {
      ASSIGN_OR_RETURN(const Change changed, SpecForRetry(job, newest, sets, workers));
      changes.push_back(changed);
    }
    changes.push_back(JobStateChanged(
        job.state, JobState::kQueued,
        {"RETRIED", ReasonOwner::kUser, fmt::format("retried by {}, {}", actor, from)}));
    RETURN_IF_ERROR(ledger_->Emit(*entry, actor, changes));
    answer = AnswerOf(*entry);
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return answer;
}

StatusOr<Explanation> Coordinator::Explain(std::string_view ref) const {
  Explanation explanation;
  JobId job;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(const JobEntry* entry, std::as_const(*ledger_).Resolve(ref));
    explanation = ExplainJob(*ledger_, *entry);
    job = entry->job->id;
  }
  // Without the lock: a commit may hold the store for a while.
  ASSIGN_OR_RETURN(const std::vector<Event> events, store_.RecentEvents(job, kEventsExplained));
  for (const Event& event : events) explanation.evidence.push_back(DescribeEvent(event));
  return explanation;
}

std::vector<Worker> Coordinator::Workers() const {
  absl::MutexLock lock(&mu_);
  std::vector<Worker> workers;
  for (const auto& [id, entry] : ledger_->workers()) {
    workers.push_back(entry.worker);
    workers.back().reachable = ledger_->IsReachable(entry);
  }
  return workers;
}

std::vector<std::pair<SlotId, double>> Coordinator::SlotsInUse() const {
  absl::MutexLock lock(&mu_);
  std::map<SlotId, double> used;
  for (const auto& [id, entry] : ledger_->workers()) {
    for (const JobId& job : entry.jobs) {
      for (const RankPlacement& rank : OpenAttempt(*ledger_->Find(job)->job)->ranks) {
        if (rank.slot.worker == id) used[rank.slot] += rank.share;
      }
    }
  }
  return {used.begin(), used.end()};
}

StatusOr<Answer<DesiredState>> Coordinator::Report(const WorkerReport& report) {
  Notices notices;
  Answer<DesiredState> answer;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(const std::string refused, TakeReport(*ledger_, report));
    // A freed slot is given out again at once.
    LogUntaken("the schedule", RunSchedule(*ledger_));
    if (refused.empty()) {
      answer.value = DesiredOf(*ledger_, report.worker);
    } else {
      answer.value.refused = refused;
      answer.value.coordinator_epoch = ledger_->options().epoch;
    }
    answer.value.report_number = report.report_number;
    answer.durable_after = store_.appended_sequence();
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
  return answer;
}

StatusOr<Answer<DesiredState>> Coordinator::Desired(const WorkerId& worker) const {
  absl::MutexLock lock(&mu_);
  return Answer<DesiredState>{DesiredOf(*ledger_, worker), store_.appended_sequence()};
}

void Coordinator::Tick() {
  Notices notices;
  {
    absl::MutexLock lock(&mu_);
    LogUntaken("what silent workers mean", WatchWorkers(*ledger_));
    LogUntaken("what is due for a job", WatchJobs(*ledger_));
    LogUntaken("the schedule", RunSchedule(*ledger_));
    notices = ledger_->TakeNotices();
  }
  Announce(notices);
}

void Coordinator::NoteMetrics(const JobId& job, AttemptNumber attempt, int64_t step,
                              const std::vector<std::pair<std::string, double>>& values) {
  absl::MutexLock lock(&mu_);
  JobEntry* entry = ledger_->Find(job);
  const Attempt* open = entry == nullptr ? nullptr : OpenAttempt(*entry->job);
  if (open == nullptr || open->number != attempt) {
    ++ledger_->counters().stale_messages;
    return;
  }
  entry->metrics_step = step;
  for (const auto& [name, value] : values) {
    const bool has_room = entry->metrics.size() < kMetricNamesMax;
    if (has_room || entry->metrics.contains(name)) entry->metrics[name] = value;
  }
}

void Coordinator::RestoreMetrics(const JobId& job, int64_t step,
                                 std::map<std::string, double> values) {
  absl::MutexLock lock(&mu_);
  JobEntry* entry = ledger_->Find(job);
  if (entry == nullptr || entry->metrics_step >= 0) return;
  entry->metrics_step = step;
  entry->metrics = std::move(values);
}

std::map<std::string, double> Coordinator::LatestMetrics(const JobId& job) const {
  absl::MutexLock lock(&mu_);
  const JobEntry* entry = std::as_const(*ledger_).Find(job);
  return entry == nullptr ? std::map<std::string, double>() : entry->metrics;
}

bool Coordinator::Knows(const JobId& job) const {
  absl::MutexLock lock(&mu_);
  return std::as_const(*ledger_).Find(job) != nullptr;
}

bool Coordinator::IsLive(const JobId& job, AttemptNumber attempt) const {
  absl::MutexLock lock(&mu_);
  const JobEntry* entry = std::as_const(*ledger_).Find(job);
  const Attempt* open = entry == nullptr ? nullptr : OpenAttempt(*entry->job);
  return open != nullptr && open->number == attempt;
}

Answer<std::vector<Garbage>> Coordinator::TakeGarbage(int64_t limit) {
  absl::MutexLock lock(&mu_);
  std::deque<Garbage>& all = ledger_->garbage();
  const int64_t n = std::clamp<int64_t>(limit, 0, static_cast<int64_t>(all.size()));
  Answer<std::vector<Garbage>> answer;
  answer.value.assign(std::make_move_iterator(all.begin()),
                      std::make_move_iterator(all.begin() + n));
  all.erase(all.begin(), all.begin() + n);
  answer.durable_after = store_.appended_sequence();
  return answer;
}

CoordinatorStats Coordinator::Stats() const {
  absl::MutexLock lock(&mu_);
  CoordinatorStats stats;
  stats.counters = ledger_->counters();
  for (const JobEntry* entry : ledger_->jobs()) ++stats.jobs[entry->job->state];
  for (const auto& [id, worker] : ledger_->workers()) {
    if (!ledger_->IsReachable(worker)) continue;
    ++stats.workers_reachable;
    stats.slots += static_cast<int64_t>(worker.worker.slots.size());
  }
  for (const WorkerUse& worker : ledger_->UseOfSlots().workers) {
    for (const SlotUse& slot : worker.slots) stats.slots_in_use += slot.used;
  }
  stats.queue_jobs = static_cast<int64_t>(ledger_->queue().size());
  for (const Demand& demand : ledger_->queue()) {
    const Job& job = *ledger_->Find(demand.job)->job;
    stats.oldest_wait_seconds = std::max(stats.oldest_wait_seconds,
                                         absl::ToDoubleSeconds(ledger_->Wall() - job.update_time));
  }
  return stats;
}

}  // namespace trainyard::coordinator

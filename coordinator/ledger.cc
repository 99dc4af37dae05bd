#include "coordinator/ledger.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "common/files.h"
#include "common/require.h"

namespace trainyard::coordinator {
namespace {

constexpr absl::Duration kRequestsKept = absl::Hours(24);
// What is not deleted in time is found again when the job ends.
constexpr size_t kGarbageMax = 10'000;

std::string RequestKey(const Actor& actor, std::string_view request_id) {
  return fmt::format("{}\n{}", actor, request_id);
}

// Garbage is told again after a restart, for jobs that changed within this time.
constexpr absl::Duration kGarbageTold = absl::Hours(24);

bool WaitsForSlots(const Job& job) {
  if (job.state != JobState::kQueued && job.state != JobState::kRecovering) return false;
  const Attempt* open = OpenAttempt(job);
  return open == nullptr || IsEnding(*open);
}

Demand DemandOf(const JobEntry& entry, absl::Time steady_now, absl::Time wall_now) {
  const Job& job = *entry.job;
  Demand demand;
  demand.job = job.id;
  demand.priority = job.spec->resources.priority;
  demand.ran_before = job.state == JobState::kRecovering;
  demand.age = entry.position;
  demand.device = job.spec->resources.device;
  demand.ranks.resize(static_cast<size_t>(job.spec->resources.ranks));
  if (job.not_before > wall_now) demand.not_before = steady_now + (job.not_before - wall_now);
  demand.stopping = OpenAttempt(job) != nullptr;
  return demand;
}

}  // namespace

Status CheckEtag(const Job& job, std::string_view etag) {
  if (etag.empty() || etag == EtagOf(job)) return OkStatus();
  return WithReason(Aborted("job {} changed since you read it (its etag is {}, you sent {})",
                            job.id.value, EtagOf(job), etag),
                    "ETAG_MISMATCH");
}

StatusOr<std::unique_ptr<Ledger>> Ledger::Load(const CoordinatorOptions& options,
                                               const Clock& clock, Store& store) {
  std::unique_ptr<Ledger> ledger(new Ledger(options, clock, store));
  ledger->settled_at_ = ledger->Steady() + options.unreachable_after;
  ledger->attempt_key_ = options.attempt_key;
  if (ledger->attempt_key_.empty()) {
    ASSIGN_OR_RETURN(ledger->attempt_key_, store.AttemptKey());
  }
  ASSIGN_OR_RETURN(const auto jobs, store.LoadJobs());
  for (const auto& job : jobs) {
    JobEntry& entry = ledger->Insert(job, store.durable_sequence());
    if (ledger->Wall() - job->create_time < kRequestsKept) ledger->RememberRequest(entry);
    // What an earlier start of the daemon may not have come to delete.
    const bool changed_lately = ledger->Wall() - job->update_time < kGarbageTold;
    if (IsFinal(job->state) && changed_lately) ledger->NoteGarbage(Job(), *job);
  }
  ASSIGN_OR_RETURN(const std::vector<JobId> deleted, store.DeletedJobs());
  for (const JobId& job : deleted) {
    if (!ledger->jobs_.contains(job)) ledger->NoteDeleted(job);
  }
  ledger->TakeNotices();
  return ledger;
}

JobEntry* Ledger::Find(const JobId& id) {
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second.get();
}

const JobEntry* Ledger::Find(const JobId& id) const { return const_cast<Ledger*>(this)->Find(id); }

StatusOr<JobEntry*> Ledger::Resolve(std::string_view ref) {
  if (JobEntry* entry = Find(JobId{std::string(ref)})) return entry;
  if (const auto named = newest_of_name_.find(std::string(ref)); named != newest_of_name_.end()) {
    return named->second;
  }
  std::vector<std::string> candidates;
  for (auto it = ids_.lower_bound(JobId{std::string(ref)}); it != ids_.end(); ++it) {
    if (ref.empty() || !it->value.starts_with(ref) || candidates.size() == 5) break;
    candidates.push_back(it->value);
  }
  if (candidates.size() == 1) return Find(JobId{candidates.front()});
  if (candidates.empty()) {
    return WithReason(NotFound("there is no job {}: `trainyard list` shows what there is", ref),
                      "JOB_NOT_FOUND");
  }
  return WithReason(
      InvalidArgument("{} is the beginning of several jobs: {}", ref, fmt::join(candidates, ", ")),
      "JOB_AMBIGUOUS");
}

StatusOr<const JobEntry*> Ledger::Resolve(std::string_view ref) const {
  ASSIGN_OR_RETURN(JobEntry * entry, const_cast<Ledger*>(this)->Resolve(ref));
  return entry;
}

JobEntry* Ledger::FindRequest(const Actor& actor, std::string_view request_id) {
  while (!request_ages_.empty() && Steady() - request_ages_.front().first > kRequestsKept) {
    by_request_.erase(request_ages_.front().second);
    request_ages_.pop_front();
  }
  if (request_id.empty()) return nullptr;
  const auto found = by_request_.find(RequestKey(actor, request_id));
  return found == by_request_.end() ? nullptr : found->second;
}

void Ledger::RememberRequest(const JobEntry& entry) {
  if (entry.job->request_id.empty()) return;
  std::string key = RequestKey(entry.job->creator, entry.job->request_id);
  by_request_[key] = Find(entry.job->id);
  // Jobs of before the start are a little older than this says: kept longer, never shorter.
  request_ages_.emplace_back(Steady(), std::move(key));
}

JobId Ledger::FreeId(const std::string& name, std::string_view suffix) const {
  JobId id{fmt::format("{}-{}", name, suffix)};
  for (int i = 2; jobs_.contains(id); ++i) id.value = fmt::format("{}-{}{}", name, suffix, i);
  return id;
}

Record Ledger::RecordOf(const Actor& actor, const JobId& job, const Change& change,
                        absl::Time time) const {
  Record record;
  record.event.time = time;
  record.event.actor = actor;
  record.event.type = change.type;
  record.event.job = job;
  record.event.attempt = change.attempt;
  record.event.message = change.message;
  // What comes from workers may not be UTF-8.
  record.event.payload_json = change.payload.dump(-1, ' ', false, Json::error_handler_t::replace);
  return record;
}

StatusOr<JobEntry*> Ledger::Create(const Actor& actor, Job job, std::string_view id_suffix) {
  const absl::Time now = Wall();
  job.id = FreeId(job.spec->name.empty() ? job.spec->kind : job.spec->name, id_suffix);
  job.creator = actor;
  job.create_time = job.update_time = now;
  job.state = JobState::kPending;
  job.revision = 1;
  std::vector<Record> records = {RecordOf(actor, job.id, JobCreated(job), now)};
  records[0].job_after = std::make_shared<const Job>(job);
  const Change queued = JobStateChanged(JobState::kPending, JobState::kQueued,
                                        {"QUEUED", ReasonOwner::kNone, "waits for its turn"});
  StatusOr<Job> after = Apply(std::move(job), queued, now);
  REQUIRE(after.ok());
  auto stands = std::make_shared<const Job>(*std::move(after));
  records.push_back(RecordOf("coordinator", stands->id, queued, now));
  records[1].job_after = stands;
  ASSIGN_OR_RETURN(const int64_t sequence, store_.Append(std::move(records)));
  JobEntry& entry = Insert(std::move(stands), sequence);
  RememberRequest(entry);
  return &entry;
}

Status Ledger::Emit(JobEntry& entry, const Actor& actor, const std::vector<Change>& changes) {
  if (changes.empty()) return OkStatus();
  const absl::Time now = Wall();
  const std::shared_ptr<const Job> before = entry.job;
  std::shared_ptr<const Job> after = before;
  std::vector<Record> records;
  for (const Change& change : changes) {
    records.push_back(RecordOf(actor, before->id, change, now));
    if (!ChangesJob(change.type)) continue;
    StatusOr<Job> next = Apply(*after, change, now);
    if (!next.ok()) std::fprintf(stderr, "%s\n", MessageOf(next.status()).c_str());
    REQUIRE(next.ok());
    after = std::make_shared<const Job>(*std::move(next));
    records.back().job_after = after;
  }
  ASSIGN_OR_RETURN(entry.last_sequence, store_.Append(std::move(records)));
  if (after == before) return OkStatus();
  entry.job = after;
  Reindex(entry, before.get());
  return OkStatus();
}

StatusOr<int64_t> Ledger::Remove(JobEntry& entry, const Actor& actor) {
  const JobId id = entry.job->id;
  REQUIRE(IsFinal(entry.job->state) && OpenAttempt(*entry.job) == nullptr);
  ASSIGN_OR_RETURN(const int64_t sequence,
                   store_.Append({RecordOf(actor, id, JobDeleted(*entry.job), Wall())}));
  Forget(entry);
  NoteDeleted(id);
  return sequence;
}

Status Ledger::EmitClusterEvent(const Actor& actor, const Change& change) {
  return store_.Append({RecordOf(actor, {}, change, Wall())}).status();
}

JobEntry& Ledger::Insert(std::shared_ptr<const Job> job, int64_t last_sequence) {
  auto owned = std::make_unique<JobEntry>();
  JobEntry& entry = *owned;
  entry.job = std::move(job);
  entry.position = next_position_++;
  entry.last_sequence = last_sequence;
  by_position_.push_back(&entry);
  ids_.insert(entry.job->id);
  newest_of_name_[entry.job->spec->name] = &entry;
  jobs_.emplace(entry.job->id, std::move(owned));
  Reindex(entry, nullptr);
  return entry;
}

// Ended jobs are in no queue, on no worker, and have no deadline: Reindex saw to that.
void Ledger::Forget(JobEntry& entry) {
  const std::shared_ptr<const Job> job = entry.job;
  notices_.jobs.insert(job->id);
  active_.erase(job->id);
  ids_.erase(job->id);
  std::erase(by_position_, &entry);
  const auto request = by_request_.find(RequestKey(job->creator, job->request_id));
  if (request != by_request_.end() && request->second == &entry) by_request_.erase(request);
  if (const auto named = newest_of_name_.find(job->spec->name); named->second == &entry) {
    const auto next =
        std::find_if(by_position_.rbegin(), by_position_.rend(),
                     [&](JobEntry* other) { return other->job->spec->name == job->spec->name; });
    if (next == by_position_.rend()) {
      newest_of_name_.erase(named);
    } else {
      named->second = *next;
    }
  }
  jobs_.erase(job->id);
}

void Ledger::Reindex(JobEntry& entry, const Job* before) {
  const Job& job = *entry.job;
  notices_.jobs.insert(job.id);
  const StateDeadline* deadline = FindDeadline(job.state);
  if (before == nullptr || before->state != job.state) {
    entry.deadline = deadline == nullptr ? absl::InfiniteFuture() : Steady() + deadline->within;
    entry.wait_code.clear();
  }
  if (before != nullptr && IsFinal(job.state) && !IsFinal(before->state))
    ++counters_.jobs_ended[{job.state, job.reason}];
  ReindexAttempt(entry, before);
  ReindexQueue(entry);
  if (before != nullptr) NoteGarbage(*before, job);
  if (OpenAttempt(job) != nullptr || deadline != nullptr) {
    active_.insert(job.id);
  } else {
    active_.erase(job.id);
  }
}

void Ledger::ReindexQueue(JobEntry& entry) {
  const bool was_in = entry.demand.has_value();
  if (was_in) queue_.erase(*entry.demand);
  entry.demand.reset();
  const bool is_in = WaitsForSlots(*entry.job);
  if (is_in) {
    entry.demand = DemandOf(entry, Steady(), Wall());
    next_back_off_ = std::min(next_back_off_, std::max(entry.demand->not_before, Steady()));
    queue_.insert(*entry.demand);
  }
  schedule_due_ |= was_in || is_in;
}

void Ledger::ReindexAttempt(JobEntry& entry, const Job* before) {
  const Attempt* open = OpenAttempt(*entry.job);
  const Attempt* was_open = before == nullptr ? nullptr : OpenAttempt(*before);
  const auto number = [](const Attempt* a) { return a == nullptr ? 0 : a->number; };
  if (was_open != nullptr) {
    for (const RankPlacement& rank : was_open->ranks) {
      notices_.workers.insert(rank.slot.worker);
      if (number(open) != was_open->number) AddWorker(rank.slot.worker).jobs.erase(entry.job->id);
    }
  }
  if (number(open) == number(was_open)) return;
  entry.ranks.clear();
  entry.secret.clear();
  entry.held_reason.clear();
  schedule_due_ = true;
  if (open == nullptr) return;
  entry.ranks.resize(open->ranks.size());
  entry.secret = HmacSha256(attempt_key_, fmt::format("{}/{}", entry.job->id.value, open->number));
  for (const RankPlacement& rank : open->ranks) {
    AddWorker(rank.slot.worker).jobs.insert(entry.job->id);
    notices_.workers.insert(rank.slot.worker);
  }
}

void Ledger::NoteGarbage(const Job& before, const Job& after) {
  if (garbage_.size() >= kGarbageMax) return;
  std::vector<std::string> keep;
  for (const Checkpoint& checkpoint : after.checkpoints) keep.push_back(checkpoint.key);
  // A new attempt lives, or the job is over: older attempts' files count no more.
  const Attempt* open = OpenAttempt(after);
  const bool is_new = open != nullptr && OpenAttempt(before) == nullptr;
  const bool was_over = IsFinal(before.state) && OpenAttempt(before) == nullptr;
  const bool is_over = IsFinal(after.state) && open == nullptr;
  if ((is_new && open->number > 1) || (is_over && !was_over && !after.attempts.empty())) {
    const AttemptNumber up_to = is_over ? after.attempts.back().number : open->number - 1;
    garbage_.push_back(
        {.job = after.id, .folder = "", .up_to_attempt = up_to, .keep = std::move(keep)});
    return;
  }
  // Dropped because there are newer ones. A damaged one stays until the next attempt lives.
  for (const Checkpoint& checkpoint : before.checkpoints) {
    const bool dropped = std::find(keep.begin(), keep.end(), checkpoint.key) == keep.end();
    const Checkpoint* newest = NewestCheckpoint(after);
    if (dropped && newest != nullptr && newest->step > checkpoint.step) {
      NoteFolder(after.id, checkpoint.key);
    }
  }
}

void Ledger::NoteDeleted(const JobId& job) {
  garbage_.push_back({.job = job, .folder = "", .keep = {}, .whole_job = true});
}

void Ledger::NoteFolder(const JobId& job, std::string folder) {
  garbage_.push_back({.job = job, .folder = std::move(folder), .keep = {}});
}

WorkerEntry* Ledger::FindWorker(const WorkerId& id) {
  const auto found = workers_.find(id);
  return found == workers_.end() ? nullptr : &found->second;
}

const WorkerEntry* Ledger::FindWorker(const WorkerId& id) const {
  return const_cast<Ledger*>(this)->FindWorker(id);
}

WorkerEntry& Ledger::AddWorker(const WorkerId& id) {
  const auto [it, is_new] = workers_.try_emplace(id);
  if (is_new) {
    it->second.worker.id = id;
    // Time to report, e.g. after a restart of the coordinator.
    it->second.last_report = Steady();
  }
  return it->second;
}

void Ledger::ForgetWorker(const WorkerId& id) {
  workers_.erase(id);
  schedule_due_ = true;
}

bool Ledger::IsReachable(const WorkerEntry& worker) const {
  return worker.ever_reported && Steady() - worker.last_report < options_.unreachable_after;
}

Cluster Ledger::UseOfSlots() const {
  Cluster cluster;
  for (const auto& [id, worker] : workers_) {
    WorkerUse use{
        .id = id, .host_id = worker.worker.host_id, .unusable = worker.unusable, .slots = {}};
    if (!IsReachable(worker)) {
      use.unusable = "is unreachable";
    } else if (use.unusable.empty() && worker.has_strays) {
      use.unusable = "is still stopping ranks of an older attempt";
    }
    for (const Slot& slot : worker.worker.slots) {
      use.slots.push_back({slot.index, slot.device, 0, {}});
    }
    for (const JobId& job : worker.jobs) {
      for (const RankPlacement& rank : OpenAttempt(*Find(job)->job)->ranks) {
        if (rank.slot.worker != id) continue;
        for (SlotUse& slot : use.slots) {
          if (slot.index != rank.slot.index) continue;
          slot.used += rank.share;
          slot.used_by.push_back(job);
        }
      }
    }
    cluster.workers.push_back(std::move(use));
  }
  return cluster;
}

bool Ledger::ScheduleIsDue() const { return schedule_due_ || next_back_off_ <= Steady(); }

void Ledger::SetScheduled() {
  schedule_due_ = false;
  next_back_off_ = IsSettling() ? settled_at_ : absl::InfiniteFuture();
  for (const Demand& demand : queue_) {
    // Demands in back-off are few: jobs that ran and failed. Those behind a full cluster have none.
    if (demand.not_before > Steady()) next_back_off_ = std::min(next_back_off_, demand.not_before);
  }
}

}  // namespace trainyard::coordinator

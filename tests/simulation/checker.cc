#include "tests/simulation/checker.h"

#include <algorithm>
#include <utility>

#include "coordinator/state/change.h"

namespace trainyard::simulation {

using coordinator::Event;
using coordinator::JobState;
using coordinator::Json;

namespace {

constexpr double kShareSlack = 1e-9;

}  // namespace

Status Checker::ReadEvents(coordinator::Store& store) {
  ASSIGN_OR_RETURN(const std::vector<Event> events, store.Events({}, last_sequence_, 1'000'000));
  for (const Event& event : events) RETURN_IF_ERROR(Read(event));
  return OkStatus();
}

Status Checker::Read(const Event& event) {
  if (event.sequence != last_sequence_ + 1) {
    return Internal("event {} follows event {}", event.sequence, last_sequence_);
  }
  last_sequence_ = event.sequence;
  if (event.job.empty()) return OkStatus();
  const Json payload = Json::parse(event.payload_json);
  if (event.type == "JobCreated") {
    const std::string request = payload.at("request_id").get<std::string>();
    if (!created_by_request_.emplace(request, event.job).second || jobs_.contains(event.job)) {
      return Internal("request {} made a second job, {}", request, event.job.value);
    }
    jobs_[event.job].request = request;
  }
  if (!jobs_.contains(event.job)) return Internal("event of an unknown job {}", event.job.value);
  JobModel& job = jobs_.at(event.job);
  RETURN_IF_ERROR(ReadStateChange(event, job, payload));
  RETURN_IF_ERROR(ReadAttempt(event, job, payload));
  RETURN_IF_ERROR(ReadCheckpoint(event, job, payload));
  ASSIGN_OR_RETURN(
      job.replayed,
      coordinator::Apply(std::move(job.replayed),
                         {event.type, event.attempt, event.message, payload}, event.time));
  return OkStatus();
}

Status Checker::ReadStateChange(const Event& event, JobModel& job, const Json& payload) {
  if (event.type != "JobStateChanged") return OkStatus();
  const auto from = coordinator::ParseJobState(payload.at("from").get<std::string>());
  const auto to = coordinator::ParseJobState(payload.at("to").get<std::string>());
  if (!from || !to || *from != job.state || !coordinator::IsLegal(*from, *to)) {
    return Internal("illegal transition of {} in {}: {}", event.job.value,
                    coordinator::JobStateName(job.state), event.message);
  }
  job.state = *to;
  if (*to == JobState::kSucceeded && job.newest_step < job.replayed.spec->train.max_steps) {
    return Internal("{} succeeded with checkpoint {} only", event.job.value, job.newest_step);
  }
  return OkStatus();
}

Status Checker::ReadAttempt(const Event& event, JobModel& job, const Json& payload) {
  if (event.type == "AttemptStarted") {
    if (job.open || event.attempt <= job.last_attempt) {
      return Internal("attempt {} of {} starts while {} lives", event.attempt, event.job.value,
                      job.last_attempt);
    }
    job.open = true;
    job.last_attempt = event.attempt;
    job.ranks.clear();
    for (const Json& rank : payload.at("ranks")) {
      ASSIGN_OR_RETURN(auto placement, coordinator::PlacementFromJson(rank));
      job.ranks.push_back(std::move(placement));
    }
    ++attempts_;
    return CheckShares();
  }
  if (event.type == "AttemptEnded") {
    if (!job.open || event.attempt != job.last_attempt) {
      return Internal("attempt {} of {} ends, which does not live", event.attempt, event.job.value);
    }
    job.open = false;
  }
  return OkStatus();
}

Status Checker::ReadCheckpoint(const Event& event, JobModel& job, const Json& payload) {
  if (event.type == "CheckpointDeleted" && payload.at("step") == job.newest_step) {
    job.newest_step = -1;  // damaged: the next may be any that is newer than those that are left
  }
  if (event.type != "CheckpointCommitted") return OkStatus();
  const auto step = payload.at("step").get<int64_t>();
  if (!job.open || event.attempt != job.last_attempt) {
    return Internal("checkpoint of step {} of {} is recorded for attempt {}, but {} is {}", step,
                    event.job.value, event.attempt, job.last_attempt,
                    job.open ? "live" : "the last");
  }
  if (step <= job.newest_step) {
    return Internal("checkpoint of step {} of {} follows {}", step, event.job.value,
                    job.newest_step);
  }
  job.newest_step = step;
  if (job.state == JobState::kCancelling) ++last_checkpoints_;
  return OkStatus();
}

Status Checker::CheckShares() const {
  std::map<SlotId, double> used;
  for (const auto& [id, job] : jobs_) {
    if (!job.open) continue;
    for (const auto& rank : job.ranks) used[rank.slot] += rank.share;
  }
  for (const auto& [slot, share] : used) {
    if (share > 1 + kShareSlack) {
      return Internal("slot {} of {} is given out {} times", slot.index, slot.worker.value, share);
    }
  }
  return OkStatus();
}

Status Checker::CheckSlots(const coordinator::Coordinator& coordinator) const {
  for (const auto& [slot, share] : coordinator.SlotsInUse()) {
    if (share > 1 + kShareSlack) {
      return Internal("slot {} of {} is given out {} times", slot.index, slot.worker.value, share);
    }
  }
  return OkStatus();
}

Status Checker::Acknowledged(const std::string& request, const JobId& job) {
  const auto [known, is_new] = acknowledged_.emplace(request, job);
  if (known->second != job) {
    return Internal("request {} was answered with {} and with {}", request, known->second.value,
                    job.value);
  }
  const auto created = created_by_request_.find(request);
  if (created == created_by_request_.end() || created->second != job) {
    return Internal("job {} was acknowledged and is not durable", job.value);
  }
  return OkStatus();
}

Status Checker::CancelAcknowledged(const JobId& job) const {
  const auto found = jobs_.find(job);
  if (found != jobs_.end() && (found->second.state == JobState::kCancelling ||
                               found->second.state == JobState::kCancelled)) {
    return OkStatus();
  }
  return Internal("the cancel of {} was acknowledged and is not durable", job.value);
}

bool Checker::AllFinal() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const auto& job) {
    return coordinator::IsFinal(job.second.state) && !job.second.open;
  });
}

int64_t Checker::succeeded() const {
  return std::count_if(jobs_.begin(), jobs_.end(),
                       [](const auto& job) { return job.second.state == JobState::kSucceeded; });
}

Status Checker::CheckEnd(coordinator::Store& store) const {
  for (const auto& [id, job] : jobs_) {
    if (!coordinator::IsFinal(job.state) || job.open) {
      return Internal("{} never ended: it is {}{}", id.value, coordinator::JobStateName(job.state),
                      job.open ? " with ranks" : "");
    }
  }
  ASSIGN_OR_RETURN(const auto rows, store.LoadJobs());
  if (rows.size() != jobs_.size()) {
    return Internal("{} jobs are stored, {} were created", rows.size(), jobs_.size());
  }
  for (const auto& row : rows) {
    const coordinator::Job& replayed = jobs_.at(row->id).replayed;
    const std::string stored = coordinator::ProgressToJson(*row).dump();
    const std::string expected = coordinator::ProgressToJson(replayed).dump();
    if (stored != expected) {
      return Internal("the row of {} is not what its events say:\n{}\n{}", row->id.value, stored,
                      expected);
    }
  }
  return OkStatus();
}

}  // namespace trainyard::simulation

#include "coordinator/state/change.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "common/job_spec/json.h"

namespace trainyard::coordinator {
namespace {

// Attempts kept in a job; the event log has all of them.
constexpr size_t kAttemptsKept = 100;

Json WhyToJson(const Why& why, absl::Time not_before) {
  Json json = {{"reason", why.reason},
               {"reason_owner", std::string(ReasonOwnerName(why.owner))},
               {"message", why.message}};
  PutTime(json, "not_before", not_before);
  return json;
}

void SetWhy(Job& job, const Json& payload) {
  job.reason = payload.at("reason").get<std::string>();
  job.reason_owner = ParseReasonOwner(payload.at("reason_owner").get<std::string>());
  job.message = payload.at("message").get<std::string>();
  job.not_before = GetTime(payload, "not_before", absl::InfinitePast());
}

Status SetState(Job& job, const Json& payload, absl::Time time) {
  const auto from = ParseJobState(payload.at("from").get<std::string>());
  const auto to = ParseJobState(payload.at("to").get<std::string>());
  if (!from || !to || *from != job.state || !IsLegal(*from, *to)) {
    return DataLoss("job {} cannot go from {} to {}; it is {}", job.id.value,
                    payload.at("from").dump(), payload.at("to").dump(), JobStateName(job.state));
  }
  if (*from == JobState::kFailed) job.attempts_without_progress = 0;
  job.state = *to;
  SetWhy(job, payload);
  const StateDeadline* deadline = FindDeadline(*to);
  job.state_deadline = deadline == nullptr ? absl::InfiniteFuture() : time + deadline->within;
  job.cancel_now = payload.value("cancel_now", job.cancel_now);
  job.end_time = IsFinal(*to) ? time : absl::InfiniteFuture();
  return OkStatus();
}

// The open attempt that the change is about.
StatusOr<Attempt*> LastAttempt(Job& job, const Change& change) {
  if (OpenAttempt(job) == nullptr || job.attempts.back().number != change.attempt) {
    return DataLoss("{} of attempt {} of job {}, which is not its open attempt", change.type,
                    change.attempt, job.id.value);
  }
  return &job.attempts.back();
}

Status Start(Job& job, const Change& change, absl::Time time) {
  const AttemptNumber last = job.attempts.empty() ? 0 : job.attempts.back().number;
  if (OpenAttempt(job) != nullptr || change.attempt <= last) {
    return DataLoss("attempt {} of job {} starts while attempt {} is open or newer", change.attempt,
                    job.id.value, last);
  }
  Attempt attempt{.number = change.attempt, .ranks = {}, .end_reason = {}, .end_message = {}};
  for (const Json& rank : change.payload.at("ranks")) {
    ASSIGN_OR_RETURN(RankPlacement placement, PlacementFromJson(rank));
    attempt.ranks.push_back(std::move(placement));
  }
  attempt.resumed_from_step = change.payload.at("resumed_from_step").get<int64_t>();
  attempt.start_time = time;
  if (job.start_time == absl::InfiniteFuture()) job.start_time = time;
  if (job.attempts.size() >= kAttemptsKept) job.attempts.erase(job.attempts.begin());
  job.attempts.push_back(std::move(attempt));
  return OkStatus();
}

Status End(Job& job, const Change& change, absl::Time time) {
  ASSIGN_OR_RETURN(Attempt* const attempt, LastAttempt(job, change));
  attempt->end_reason = change.payload.at("reason").get<std::string>();
  attempt->end_message = change.payload.at("message").get<std::string>();
  if (change.type == "AttemptEnded") attempt->end_time = time;
  if (change.payload.value("counts", false)) ++job.attempts_without_progress;
  return OkStatus();
}

Status Commit(Job& job, const Change& change) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, CheckpointFromJson(job.id, change.payload));
  const Checkpoint* newest = NewestCheckpoint(job);
  if (newest == nullptr || checkpoint.step > newest->step) job.attempts_without_progress = 0;
  const auto position =
      std::upper_bound(job.checkpoints.begin(), job.checkpoints.end(), checkpoint,
                       [](const Checkpoint& a, const Checkpoint& b) { return a.step < b.step; });
  job.checkpoints.insert(position, std::move(checkpoint));
  return OkStatus();
}

Status ApplyTo(Job& job, const Change& change, absl::Time time) {
  if (change.type == "JobStateChanged") return SetState(job, change.payload, time);
  if (change.type == "JobNoted") {
    SetWhy(job, change.payload);
    job.cancel_now = change.payload.value("cancel_now", job.cancel_now);
    return OkStatus();
  }
  if (change.type == "JobSpecChanged") return ReadChangedSpec(change.payload, job);
  if (change.type == "AttemptStarted") return Start(job, change, time);
  if (change.type == "AttemptEnding" || change.type == "AttemptEnded") {
    return End(job, change, time);
  }
  if (change.type == "JobPrepared") {
    job.prepare_done = true;
    ASSIGN_OR_RETURN(job.prepared, PreparedFromJson(change.payload.at("files")));
    ASSIGN_OR_RETURN(job.choices, ChoicesFromJson(change.payload.value("choices", Json::array())));
    return OkStatus();
  }
  if (change.type == "CheckpointCommitted") return Commit(job, change);
  if (change.type == "CheckpointDeleted") {
    const auto key = change.payload.at("key").get<std::string>();
    std::erase_if(job.checkpoints, [&](const Checkpoint& c) { return c.key == key; });
    return OkStatus();
  }
  return OkStatus();
}

}  // namespace

Change JobCreated(const Job& job) {
  return {"JobCreated", 0, fmt::format("job {} was accepted from {}", job.id.value, job.creator),
          BirthToJson(job)};
}

Change JobStateChanged(JobState from, JobState to, const Why& why, absl::Time not_before) {
  Json payload = WhyToJson(why, not_before);
  payload["from"] = std::string(JobStateName(from));
  payload["to"] = std::string(JobStateName(to));
  return {"JobStateChanged", 0,
          fmt::format("{} -> {}: {}", JobStateName(from), JobStateName(to), why.message),
          std::move(payload)};
}

Change JobNoted(const Why& why, absl::Time not_before) {
  return {"JobNoted", 0, why.message, WhyToJson(why, not_before)};
}

Change JobSpecChanged(const JobSpec& spec, const std::map<std::string, std::string>& origins,
                      const std::vector<std::string>& sets) {
  return {"JobSpecChanged",
          0,
          fmt::format("goes on with {}", fmt::join(sets, ", ")),
          {{"set", sets}, {"spec", JobSpecToJson(spec)}, {"origins", origins}}};
}

Change AttemptStarted(const Attempt& attempt, std::string_view placement) {
  Json ranks = Json::array();
  for (const RankPlacement& rank : attempt.ranks) ranks.push_back(PlacementToJson(rank));
  const std::string from = attempt.resumed_from_step < 0
                               ? "from the beginning"
                               : fmt::format("from step {}", attempt.resumed_from_step);
  return {"AttemptStarted",
          attempt.number,
          fmt::format("attempt {} starts {}: {}", attempt.number, from, placement),
          {{"ranks", std::move(ranks)}, {"resumed_from_step", attempt.resumed_from_step}}};
}

Change AttemptEnding(const Attempt& attempt, const Why& why, bool counts) {
  Json payload = WhyToJson(why, absl::InfinitePast());
  payload["counts"] = counts;
  return {"AttemptEnding", attempt.number,
          fmt::format("attempt {} is stopped: {}", attempt.number, why.message),
          std::move(payload)};
}

Change AttemptEnded(const Attempt& attempt, const Why& why) {
  return {"AttemptEnded", attempt.number,
          fmt::format("attempt {} ended: {}", attempt.number, why.message),
          WhyToJson(why, absl::InfinitePast())};
}

Change JobPrepared(AttemptNumber attempt, const std::vector<PreparedFile>& files,
                   const std::vector<Choice>& choices) {
  std::string message = fmt::format("prepared {} files", files.size());
  for (const Choice& choice : choices) {
    message += fmt::format("; {} is {}, {}", choice.field, choice.value, choice.why);
  }
  return {"JobPrepared",
          attempt,
          std::move(message),
          {{"files", PreparedToJson(files)}, {"choices", ChoicesToJson(choices)}}};
}

Change CheckpointCommitted(const Checkpoint& checkpoint) {
  return {"CheckpointCommitted", checkpoint.attempt,
          fmt::format("checkpoint of step {} is recorded: {}", checkpoint.step, checkpoint.key),
          CheckpointToJson(checkpoint)};
}

Change CheckpointDeleted(const Checkpoint& checkpoint, std::string_view reason) {
  Json payload = CheckpointToJson(checkpoint);
  payload["reason"] = std::string(reason);
  return {"CheckpointDeleted", checkpoint.attempt,
          fmt::format("checkpoint of step {} is dropped: {}", checkpoint.step, reason),
          std::move(payload)};
}

Change JobDeleted(const Job& job) {
  int64_t bytes = 0;
  for (const Checkpoint& checkpoint : job.checkpoints) bytes += checkpoint.size_bytes;
  return {"JobDeleted",
          0,
          fmt::format("job {} of {} was deleted: it was {}, with {} recorded checkpoints",
                      job.id.value, job.creator, JobStateName(job.state), job.checkpoints.size()),
          {{"checkpoints", job.checkpoints.size()}, {"checkpoint_bytes", bytes}}};
}

Change CheckpointFailed(AttemptNumber attempt, int64_t step, std::string_view why) {
  return {"CheckpointFailed",
          attempt,
          fmt::format("checkpoint of step {} could not be written: {}; the job goes on", step, why),
          {{"step", step}}};
}

Change Happened(std::string_view type, AttemptNumber attempt, std::string_view message,
                Json payload) {
  return {std::string(type), attempt, std::string(message), std::move(payload)};
}

bool ChangesJob(std::string_view type) {
  return type == "JobCreated" || type == "JobStateChanged" || type == "JobNoted" ||
         type == "JobSpecChanged" || type == "AttemptStarted" || type == "AttemptEnding" ||
         type == "AttemptEnded" || type == "JobPrepared" || type == "CheckpointCommitted" ||
         type == "CheckpointDeleted";
}

StatusOr<Job> Apply(Job before, const Change& change, absl::Time time) {
  if (change.type == "JobCreated") return JobFromBirth(change.payload);
  Job job = std::move(before);
  if (!ChangesJob(change.type)) return job;
  RETURN_IF_ERROR(ReadJson(fmt::format("event {} of job {}", change.type, job.id.value),
                           [&] { return ApplyTo(job, change, time); }));
  ++job.revision;
  job.update_time = time;
  return job;
}

}  // namespace trainyard::coordinator

#include "coordinator/state/job_json.h"

#include <algorithm>
#include <utility>

#include "common/job_spec/json.h"
#include "common/job_spec/retry.h"

namespace trainyard::coordinator {
namespace {

Json AttemptToJson(const Attempt& attempt) {
  Json ranks = Json::array();
  for (const RankPlacement& rank : attempt.ranks) ranks.push_back(PlacementToJson(rank));
  Json json = {{"number", attempt.number},
               {"ranks", std::move(ranks)},
               {"resumed_from_step", attempt.resumed_from_step}};
  PutTime(json, "start_time", attempt.start_time);
  PutTime(json, "end_time", attempt.end_time);
  if (!attempt.end_reason.empty()) json["end_reason"] = attempt.end_reason;
  if (!attempt.end_message.empty()) json["end_message"] = attempt.end_message;
  return json;
}

StatusOr<Attempt> AttemptFromJson(const Json& json) {
  Attempt attempt;
  attempt.number = json.at("number").get<AttemptNumber>();
  for (const Json& rank : json.at("ranks")) {
    ASSIGN_OR_RETURN(RankPlacement placement, PlacementFromJson(rank));
    attempt.ranks.push_back(std::move(placement));
  }
  attempt.resumed_from_step = json.at("resumed_from_step").get<int64_t>();
  attempt.start_time = GetTime(json, "start_time", absl::InfinitePast());
  attempt.end_time = GetTime(json, "end_time", absl::InfiniteFuture());
  attempt.end_reason = json.value("end_reason", "");
  attempt.end_message = json.value("end_message", "");
  return attempt;
}

// Birth has the spec as it was; what a retry has changed since is progress.
bool ChangedByRetry(const Job& job) {
  return std::any_of(job.origins.begin(), job.origins.end(),
                     [](const auto& origin) { return origin.second == kRetryOrigin; });
}

}  // namespace

void PutTime(Json& json, const char* key, absl::Time time) {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return;
  json[key] = absl::ToUnixMicros(time);
}

absl::Time GetTime(const Json& json, const char* key, absl::Time fallback) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return fallback;
  return absl::FromUnixMicros(found->get<int64_t>());
}

Json PlacementToJson(const RankPlacement& placement) {
  return {{"rank", placement.rank},
          {"role", placement.role},
          {"worker", placement.slot.worker.value},
          {"slot", placement.slot.index},
          {"share", placement.share},
          {"mesh", {placement.mesh.data, placement.mesh.tensor, placement.mesh.pipeline}}};
}

StatusOr<RankPlacement> PlacementFromJson(const Json& json) {
  RankPlacement placement;
  RETURN_IF_ERROR(ReadJson("a placement", [&] {
    placement.rank = json.at("rank").get<int32_t>();
    placement.role = json.at("role").get<std::string>();
    placement.slot.worker = WorkerId{json.at("worker").get<std::string>()};
    placement.slot.index = json.at("slot").get<int32_t>();
    placement.share = json.at("share").get<double>();
    const Json& mesh = json.at("mesh");
    placement.mesh = {mesh.at(0).get<int32_t>(), mesh.at(1).get<int32_t>(),
                      mesh.at(2).get<int32_t>()};
    return OkStatus();
  }));
  return placement;
}

Json PreparedToJson(const std::vector<PreparedFile>& files) {
  Json json = Json::array();
  for (const PreparedFile& file : files) {
    json.push_back({{"name", file.name},
                    {"key", file.key},
                    {"sha256", file.sha256},
                    {"size_bytes", file.size_bytes}});
  }
  return json;
}

StatusOr<std::vector<PreparedFile>> PreparedFromJson(const Json& json) {
  std::vector<PreparedFile> files;
  RETURN_IF_ERROR(ReadJson("a prepared file", [&] {
    for (const Json& file : json) {
      files.push_back({file.at("name").get<std::string>(), file.at("key").get<std::string>(),
                       file.at("sha256").get<std::string>(), file.at("size_bytes").get<int64_t>()});
    }
    return OkStatus();
  }));
  return files;
}

Json ChoicesToJson(const std::vector<Choice>& choices) {
  Json json = Json::array();
  for (const Choice& choice : choices) {
    json.push_back({{"field", choice.field}, {"value", choice.value}, {"why", choice.why}});
  }
  return json;
}

StatusOr<std::vector<Choice>> ChoicesFromJson(const Json& json) {
  std::vector<Choice> choices;
  RETURN_IF_ERROR(ReadJson("a choice", [&] {
    for (const Json& choice : json) {
      choices.push_back({choice.at("field").get<std::string>(),
                         choice.at("value").get<std::string>(),
                         choice.at("why").get<std::string>()});
    }
    return OkStatus();
  }));
  return choices;
}

Json CheckpointToJson(const Checkpoint& checkpoint) {
  Json json = {{"attempt", checkpoint.attempt},
               {"step", checkpoint.step},
               {"key", checkpoint.key},
               {"manifest_digest", checkpoint.manifest_digest},
               {"size_bytes", checkpoint.size_bytes}};
  PutTime(json, "time", checkpoint.time);
  return json;
}

StatusOr<Checkpoint> CheckpointFromJson(const JobId& job, const Json& json) {
  Checkpoint checkpoint;
  checkpoint.job = job;
  RETURN_IF_ERROR(ReadJson("a checkpoint", [&] {
    checkpoint.attempt = json.at("attempt").get<AttemptNumber>();
    checkpoint.step = json.at("step").get<int64_t>();
    checkpoint.key = json.at("key").get<std::string>();
    checkpoint.manifest_digest = json.at("manifest_digest").get<std::string>();
    checkpoint.size_bytes = json.at("size_bytes").get<int64_t>();
    checkpoint.time = GetTime(json, "time", absl::InfinitePast());
    return OkStatus();
  }));
  return checkpoint;
}

Json BirthToJson(const Job& job) {
  Json birth = {
      {"id", job.id.value},           {"project", job.project},           {"creator", job.creator},
      {"request_id", job.request_id}, {"spec", JobSpecToJson(*job.spec)}, {"origins", job.origins}};
  PutTime(birth, "create_time", job.create_time);
  return birth;
}

StatusOr<Job> JobFromBirth(const Json& birth) {
  Job job;
  RETURN_IF_ERROR(ReadJson("a job", [&]() -> Status {
    job.id = JobId{birth.at("id").get<std::string>()};
    job.project = birth.at("project").get<std::string>();
    job.creator = birth.at("creator").get<std::string>();
    job.request_id = birth.at("request_id").get<std::string>();
    ASSIGN_OR_RETURN(JobSpec spec, JobSpecFromJson(birth.at("spec")));
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    job.origins = birth.at("origins").get<std::map<std::string, std::string>>();
    job.create_time = GetTime(birth, "create_time", absl::InfinitePast());
    job.update_time = job.create_time;
    job.revision = 1;
    return OkStatus();
  }));
  return job;
}

Status ReadChangedSpec(const Json& json, Job& job) {
  return ReadJson("a changed spec", [&]() -> Status {
    ASSIGN_OR_RETURN(JobSpec spec, JobSpecFromJson(json.at("spec")));
    job.spec = std::make_shared<const JobSpec>(std::move(spec));
    job.origins = json.at("origins").get<std::map<std::string, std::string>>();
    return OkStatus();
  });
}

Json ProgressToJson(const Job& job) {
  Json attempts = Json::array();
  for (const Attempt& attempt : job.attempts) attempts.push_back(AttemptToJson(attempt));
  Json checkpoints = Json::array();
  for (const Checkpoint& checkpoint : job.checkpoints) {
    checkpoints.push_back(CheckpointToJson(checkpoint));
  }
  Json json = {{"state", std::string(JobStateName(job.state))},
               {"reason", job.reason},
               {"reason_owner", std::string(ReasonOwnerName(job.reason_owner))},
               {"message", job.message},
               {"revision", job.revision},
               {"cancel_now", job.cancel_now},
               {"prepare_done", job.prepare_done},
               {"prepared", PreparedToJson(job.prepared)},
               {"choices", ChoicesToJson(job.choices)},
               {"attempts", std::move(attempts)},
               {"checkpoints", std::move(checkpoints)},
               {"attempts_without_progress", job.attempts_without_progress}};
  if (ChangedByRetry(job)) {
    json["spec"] = JobSpecToJson(*job.spec);
    json["origins"] = job.origins;
  }
  PutTime(json, "update_time", job.update_time);
  PutTime(json, "start_time", job.start_time);
  PutTime(json, "end_time", job.end_time);
  PutTime(json, "state_deadline", job.state_deadline);
  PutTime(json, "not_before", job.not_before);
  return json;
}

Status ReadProgress(const Json& json, Job& job) {
  return ReadJson("a job's progress", [&]() -> Status {
    const auto state = ParseJobState(json.at("state").get<std::string>());
    if (!state) return DataLoss("job {}: unknown state {}", job.id.value, json.at("state").dump());
    job.state = *state;
    job.reason = json.at("reason").get<std::string>();
    job.reason_owner = ParseReasonOwner(json.at("reason_owner").get<std::string>());
    job.message = json.at("message").get<std::string>();
    job.revision = json.at("revision").get<int64_t>();
    job.cancel_now = json.at("cancel_now").get<bool>();
    job.prepare_done = json.at("prepare_done").get<bool>();
    ASSIGN_OR_RETURN(job.prepared, PreparedFromJson(json.at("prepared")));
    // Older builds wrote none.
    ASSIGN_OR_RETURN(job.choices, ChoicesFromJson(json.value("choices", Json::array())));
    job.attempts.clear();
    for (const Json& attempt : json.at("attempts")) {
      ASSIGN_OR_RETURN(Attempt read, AttemptFromJson(attempt));
      job.attempts.push_back(std::move(read));
    }
    job.checkpoints.clear();
    for (const Json& checkpoint : json.at("checkpoints")) {
      ASSIGN_OR_RETURN(Checkpoint read, CheckpointFromJson(job.id, checkpoint));
      job.checkpoints.push_back(std::move(read));
    }
    if (json.contains("spec")) RETURN_IF_ERROR(ReadChangedSpec(json, job));
    job.attempts_without_progress = json.at("attempts_without_progress").get<int32_t>();
    job.update_time = GetTime(json, "update_time", job.create_time);
    job.start_time = GetTime(json, "start_time", absl::InfiniteFuture());
    job.end_time = GetTime(json, "end_time", absl::InfiniteFuture());
    job.state_deadline = GetTime(json, "state_deadline", absl::InfiniteFuture());
    job.not_before = GetTime(json, "not_before", absl::InfinitePast());
    return OkStatus();
  });
}

}  // namespace trainyard::coordinator

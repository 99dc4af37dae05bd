#include "coordinator/service/convert.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/blob_store.h"
#include "common/job_spec/json.h"
#include "common/wire/job_spec.h"
#include "common/wire/values.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kUsageJobsMax = 1'000;
constexpr int kRanksMax = 4096;
constexpr int kSlotsMax = 1024;
constexpr size_t kTextMax = 64 << 10;

template <class SetTime>
void SetTimeField(absl::Time time, SetTime set) {
  if (const auto proto = ToProto(time); proto.has_value()) *set() = *proto;
}

v1::Rank RankToProto(const RankPlacement& placement) {
  v1::Rank rank;
  rank.set_rank(placement.rank);
  rank.set_role(placement.role);
  rank.set_worker(placement.slot.worker.value);
  rank.set_slot(placement.slot.index);
  rank.set_share(placement.share);
  rank.mutable_mesh()->set_data(placement.mesh.data);
  rank.mutable_mesh()->set_tensor(placement.mesh.tensor);
  rank.mutable_mesh()->set_pipeline(placement.mesh.pipeline);
  return rank;
}

v1::Attempt AttemptToProto(const Job& job, const Attempt& attempt) {
  v1::Attempt proto;
  proto.set_name(AttemptName(job.project, job.id.value, attempt.number));
  proto.set_number(attempt.number);
  for (const RankPlacement& placement : attempt.ranks) *proto.add_ranks() = RankToProto(placement);
  SetTimeField(attempt.start_time, [&] { return proto.mutable_start_time(); });
  SetTimeField(attempt.end_time, [&] { return proto.mutable_end_time(); });
  proto.set_resumed_from_step(attempt.resumed_from_step);
  proto.set_end_reason(attempt.end_reason);
  proto.set_end_message(attempt.end_message);
  return proto;
}

v1::JobState StateToProto(JobState state) {
  v1::JobState proto = v1::JOB_STATE_UNSPECIFIED;
  v1::JobState_Parse(std::string(JobStateName(state)), &proto);
  return proto;
}

v1::ReasonOwner OwnerToProto(ReasonOwner owner) {
  switch (owner) {
    case ReasonOwner::kUser:
      return v1::USER;
    case ReasonOwner::kInfra:
      return v1::INFRA;
    case ReasonOwner::kSystem:
      return v1::SYSTEM;
    case ReasonOwner::kNone:
      return v1::REASON_OWNER_UNSPECIFIED;
  }
  return v1::REASON_OWNER_UNSPECIFIED;
}

PreparedFile PreparedFromProto(const v1::PreparedFile& proto) {
  return {proto.name(), proto.key(), proto.sha256(), proto.size_bytes()};
}

v1::PreparedFile PreparedToProto(const PreparedFile& file) {
  v1::PreparedFile proto;
  proto.set_name(file.name);
  proto.set_key(file.key);
  proto.set_sha256(file.sha256);
  proto.set_size_bytes(file.size_bytes);
  return proto;
}

v1::Choice ChoiceToProto(const Choice& choice) {
  v1::Choice proto;
  proto.set_field(choice.field);
  proto.set_value(choice.value);
  proto.set_why(choice.why);
  return proto;
}

Status CheckText(const std::string& text, std::string_view field) {
  if (text.size() <= kTextMax) return OkStatus();
  return WithField(InvalidArgument("{} is longer than {} bytes", field, kTextMax), field);
}

// A checkpoint's key is what clients may download from and what the daemon may delete.
Status CheckCheckpoint(const v1::RankReport& rank) {
  if (rank.checkpoint_step() <= 0) return OkStatus();
  RETURN_IF_ERROR(CheckBlobKey(rank.checkpoint_key()));
  if (!rank.checkpoint_key().starts_with(fmt::format("checkpoints/{}/", rank.job_id())))
    return WithField(
        InvalidArgument("{} is not a checkpoint of {}", rank.checkpoint_key(), rank.job_id()),
        "ranks.checkpoint_key");
  const std::string& digest = rank.checkpoint_digest();
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    return WithField(InvalidArgument("the manifest digest of {} is not 64 lower-case hex digits",
                                     rank.checkpoint_key()),
                     "ranks.checkpoint_digest");
  return OkStatus();
}

Status CheckRank(const v1::RankReport& rank) {
  if (rank.job_id().empty() || rank.job_id().size() > 128)
    return WithField(InvalidArgument("a rank report needs a job id of 1 to 128 characters"),
                     "ranks.job_id");
  if (rank.attempt() < 1 || rank.rank() < 0 || rank.rank() >= kRanksMax)
    return WithField(InvalidArgument("attempt {} rank {} of {} is out of range", rank.attempt(),
                                     rank.rank(), rank.job_id()),
                     "ranks.rank");
  if (!std::isfinite(rank.beat_age_seconds()) || rank.beat_age_seconds() < 0 ||
      !std::isfinite(rank.step_seconds_p99()))
    return WithField(InvalidArgument("times must be finite and not negative"), "ranks.beat_age");
  for (const auto& [text, field] :
       {std::pair(&rank.phase(), "ranks.phase"), std::pair(&rank.doing(), "ranks.doing"),
        std::pair(&rank.process(), "ranks.process"),
        std::pair(&rank.listen_address(), "ranks.listen_address"),
        std::pair(&rank.checkpoint_key(), "ranks.checkpoint_key"),
        std::pair(&rank.checkpoint_failure(), "ranks.checkpoint_failure"),
        std::pair(&rank.outcome().message(), "ranks.outcome.message")})
    RETURN_IF_ERROR(CheckText(*text, field));
  return CheckCheckpoint(rank);
}

StatusOr<RankReport> RankFromProto(const v1::RankReport& proto) {
  RETURN_IF_ERROR(CheckRank(proto));
  RankReport rank;
  rank.job = {proto.job_id()};
  rank.attempt = proto.attempt();
  rank.rank = proto.rank();
  rank.live.process = proto.process();
  rank.live.phase = proto.phase();
  rank.live.doing = proto.doing();
  rank.live.step = proto.step();
  rank.live.beat = proto.beat();
  rank.live.beat_age = absl::Seconds(proto.beat_age_seconds());
  rank.live.waiting_for_coordinator = proto.waiting_for_coordinator();
  rank.live.collective_sequence = proto.collective_sequence();
  rank.live.step_seconds_p99 = proto.step_seconds_p99();
  rank.live.listen_address = proto.listen_address();
  rank.live.pid = proto.pid();
  rank.prepare_done = proto.prepare_done();
  for (const v1::PreparedFile& file : proto.prepared())
    rank.prepared.push_back(PreparedFromProto(file));
  for (const v1::Choice& choice : proto.choices())
    rank.choices.push_back({choice.field(), choice.value(), choice.why()});
  if (proto.checkpoint_step() > 0)
    rank.checkpoint = WrittenCheckpoint{proto.checkpoint_step(), proto.checkpoint_key(),
                                        proto.checkpoint_digest(), proto.checkpoint_size_bytes()};
  if (proto.failed_checkpoint_step() > 0)
    rank.checkpoint_failure =
        CheckpointFailure{proto.failed_checkpoint_step(), proto.checkpoint_failure()};
  if (proto.has_outcome()) {
    const v1::Outcome& outcome = proto.outcome();
    rank.outcome = Outcome{outcome.kind(), outcome.reason(), outcome.message(), outcome.exit_code(),
                           outcome.signal()};
  }
  return rank;
}

v1::DesiredRank DesiredRankToProto(const DesiredRank& rank) {
  v1::DesiredRank proto;
  proto.set_job_id(rank.job.value);
  proto.set_attempt(rank.attempt);
  *proto.mutable_rank() = RankToProto(rank.placement);
  for (const RankPlacement& placement : rank.all_ranks)
    *proto.add_all_ranks() = RankToProto(placement);
  if (rank.spec != nullptr) proto.set_spec_json(JobSpecToJson(*rank.spec).dump());
  proto.set_attempt_secret(rank.attempt_secret);
  for (const std::string& peer : rank.peers) proto.add_peers(peer);
  proto.set_prepare_done(rank.prepare_done);
  for (const PreparedFile& file : rank.prepared) *proto.add_prepared() = PreparedToProto(file);
  for (const Choice& choice : rank.choices) *proto.add_choices() = ChoiceToProto(choice);
  if (rank.resume.has_value()) {
    proto.mutable_resume()->set_step(rank.resume->step);
    proto.mutable_resume()->set_key(rank.resume->key);
    proto.mutable_resume()->set_manifest_digest(rank.resume->manifest_digest);
  }
  proto.set_recorded_step(rank.recorded_step);
  static constexpr std::array kStops = {"none", "checkpoint", "now"};
  proto.set_stop(kStops[static_cast<size_t>(rank.stop)]);
  return proto;
}

}  // namespace

v1::Job JobSummaryToProto(const JobView& view,
                          const std::map<std::string, double>& latest_metrics) {
  const Job& job = *view.job;
  v1::Job proto;
  proto.set_name(JobName(job.project, job.id.value));
  proto.set_job_id(job.id.value);
  if (job.spec != nullptr) {
    proto.set_display_name(job.spec->name);
    proto.set_kind(job.spec->kind);
    proto.set_max_steps(job.spec->train.max_steps);
  }
  proto.set_state(StateToProto(job.state));
  proto.set_reason(job.reason);
  proto.set_reason_owner(OwnerToProto(job.reason_owner));
  proto.set_message(job.message);
  proto.set_revision(job.revision);
  proto.set_etag(EtagOf(job));
  proto.set_attempt(job.attempts.empty() ? 0 : job.attempts.back().number);
  proto.set_step(view.step);
  SetTimeField(job.create_time, [&] { return proto.mutable_create_time(); });
  SetTimeField(job.start_time, [&] { return proto.mutable_start_time(); });
  SetTimeField(job.end_time, [&] { return proto.mutable_end_time(); });
  SetTimeField(job.update_time, [&] { return proto.mutable_update_time(); });
  proto.set_creator(job.creator);
  proto.set_last_checkpoint_step(job.checkpoints.empty() ? -1 : job.checkpoints.back().step);
  for (const auto& [name, value] : latest_metrics) (*proto.mutable_latest_metrics())[name] = value;
  return proto;
}

StatusOr<v1::Job> JobToProto(const JobView& view,
                             const std::map<std::string, double>& latest_metrics) {
  const Job& job = *view.job;
  v1::Job proto = JobSummaryToProto(view, latest_metrics);
  if (job.spec != nullptr) {
    ASSIGN_OR_RETURN(*proto.mutable_spec(), ToProto(*job.spec));
  }
  for (const auto& [field, origin] : job.origins) (*proto.mutable_origins())[field] = origin;
  for (const Choice& choice : job.choices) *proto.add_choices() = ChoiceToProto(choice);
  for (const Attempt& attempt : job.attempts) *proto.add_attempts() = AttemptToProto(job, attempt);
  if (proto.attempts_size() == 0 || OpenAttempt(job) == nullptr) return proto;
  v1::Attempt* live = proto.mutable_attempts(proto.attempts_size() - 1);
  for (int i = 0; i < live->ranks_size() && i < static_cast<int>(view.ranks.size()); ++i) {
    live->mutable_ranks(i)->set_phase(view.ranks[static_cast<size_t>(i)].phase);
    live->mutable_ranks(i)->set_doing(view.ranks[static_cast<size_t>(i)].doing);
    live->mutable_ranks(i)->set_step(view.ranks[static_cast<size_t>(i)].step);
  }
  return proto;
}

v1::GetUsageResponse UsageToProto(const Usage& usage) {
  v1::GetUsageResponse proto;
  for (const UsageOfKind& kind : usage.kinds) {
    v1::KindUsage* added = proto.add_kinds();
    added->set_kind(kind.kind);
    added->set_files(kind.files);
    added->set_size_bytes(kind.bytes);
  }
  const size_t shown = std::min(usage.jobs.size(), kUsageJobsMax);
  for (size_t i = 0; i < shown; ++i) {
    v1::JobUsage* added = proto.add_jobs();
    added->set_job_id(usage.jobs[i].job.value);
    added->set_checkpoints(usage.jobs[i].checkpoints);
    added->set_size_bytes(usage.jobs[i].bytes);
  }
  proto.set_jobs_left_out(static_cast<int64_t>(usage.jobs.size() - shown));
  proto.set_free_bytes(usage.free_bytes);
  proto.set_disk_bytes(usage.disk_bytes);
  proto.set_complete(usage.complete);
  if (const auto time = ToProto(usage.time)) *proto.mutable_time() = *time;
  return proto;
}

v1::Checkpoint CheckpointToProto(const Job& job, const Checkpoint& checkpoint) {
  v1::Checkpoint proto;
  proto.set_name(CheckpointName(job.project, job.id.value, checkpoint.step));
  proto.set_job_id(job.id.value);
  proto.set_attempt(checkpoint.attempt);
  proto.set_step(checkpoint.step);
  proto.set_key(checkpoint.key);
  proto.set_manifest_digest(checkpoint.manifest_digest);
  SetTimeField(checkpoint.time, [&] { return proto.mutable_create_time(); });
  proto.set_size_bytes(checkpoint.size_bytes);
  return proto;
}

v1::Event EventToProto(const Event& event) {
  v1::Event proto;
  proto.set_sequence(event.sequence);
  SetTimeField(event.time, [&] { return proto.mutable_time(); });
  proto.set_actor(event.actor);
  proto.set_type(event.type);
  proto.set_job_id(event.job.value);
  proto.set_attempt(event.attempt);
  proto.set_message(event.message);
  proto.set_payload_json(event.payload_json);
  return proto;
}

v1::Worker WorkerToProto(const Worker& worker,
                         const std::vector<std::pair<SlotId, double>>& in_use) {
  v1::Worker proto;
  proto.set_name(WorkerName(worker.id.value));
  proto.set_worker_id(worker.id.value);
  proto.set_host(worker.host);
  proto.set_version(worker.version);
  proto.set_http_address(worker.http_address);
  proto.set_state(worker.reachable ? "CONNECTED" : "UNREACHABLE");
  SetTimeField(worker.last_report, [&] { return proto.mutable_last_report_time(); });
  for (const Slot& slot : worker.slots) {
    v1::Slot* out = proto.add_slots();
    out->set_index(slot.index);
    out->set_device(slot.device);
    out->set_description(slot.description);
    for (const auto& [id, share] : in_use)
      if (id == SlotId{worker.id, slot.index}) out->set_used_share(out->used_share() + share);
  }
  return proto;
}

StatusOr<WorkerReport> ReportFromProto(const v1::WorkerReport& proto) {
  // A blob key's rule for one segment: the id stands in resource names.
  if (!CheckBlobKey(proto.worker_id()).ok() || proto.worker_id().size() > 128 ||
      proto.worker_id().find('/') != std::string::npos)
    return WithField(InvalidArgument("a worker's id must be 1 to 128 of [A-Za-z0-9._-] and not "
                                     "begin with a dot"),
                     "worker_id");
  if (proto.slots_size() > kSlotsMax || proto.ranks_size() > kRanksMax)
    return WithField(InvalidArgument("{} slots and {} ranks are more than the {} and {} allowed",
                                     proto.slots_size(), proto.ranks_size(), kSlotsMax, kRanksMax),
                     "slots");
  WorkerReport report;
  report.worker = {proto.worker_id()};
  report.epoch = proto.worker_epoch();
  report.host = proto.host();
  report.host_id = proto.host_id();
  report.version = proto.version();
  report.http_address = proto.http_address();
  report.blob_probe = proto.blob_probe();
  report.report_number = proto.report_number();
  report.memory_bytes = std::max<int64_t>(0, proto.memory_bytes());
  for (const v1::Slot& slot : proto.slots())
    report.slots.push_back({slot.index(), slot.device(), slot.description()});
  for (const v1::RankReport& rank : proto.ranks()) {
    ASSIGN_OR_RETURN(RankReport converted, RankFromProto(rank));
    report.ranks.push_back(std::move(converted));
  }
  return report;
}

v1::DesiredState DesiredToProto(const DesiredState& desired) {
  v1::DesiredState proto;
  proto.set_coordinator_epoch(desired.coordinator_epoch);
  for (const DesiredRank& rank : desired.ranks) *proto.add_ranks() = DesiredRankToProto(rank);
  proto.set_blob_probe_key(desired.blob_probe_key);
  proto.set_report_number(desired.report_number);
  proto.set_refused(desired.refused);
  return proto;
}

}  // namespace trainyard::coordinator

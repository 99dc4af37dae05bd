#include "worker/agent/core.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "worker/agent/rank_words.h"

namespace trainyard::worker {
namespace {

// Trainers say something every second. Shorter suspects busy ones; must be well below the deadline
// of a step, so that a stopped process is known when somebody is to blame.
constexpr absl::Duration kSilentAfter = absl::Seconds(5);

RankKey KeyOf(const v1::DesiredRank& desired) {
  return {JobId{desired.job_id()}, desired.attempt(), desired.rank().rank()};
}

Stop StopOf(const v1::DesiredRank& desired) {
  if (desired.stop() == "now") return Stop::kNow;
  if (desired.stop() == "checkpoint") return Stop::kCheckpoint;
  return Stop::kNone;
}

void SetPrepared(const std::vector<link::PreparedFile>& files, v1::RankReport& report) {
  report.set_prepare_done(true);
  for (const link::PreparedFile& file : files) {
    v1::PreparedFile& proto = *report.add_prepared();
    proto.set_name(Utf8(file.name));
    proto.set_key(Utf8(file.key));
    proto.set_sha256(Utf8(file.sha256));
    proto.set_size_bytes(file.size_bytes);
  }
}

void SetChoices(const std::vector<Choice>& choices, v1::RankReport& report) {
  for (const Choice& choice : choices) {
    v1::Choice& proto = *report.add_choices();
    proto.set_field(Utf8(choice.field));
    proto.set_value(Utf8(choice.value));
    proto.set_why(Utf8(choice.why));
  }
}

v1::Outcome ToProto(const RankEnd& end) {
  v1::Outcome outcome;
  outcome.set_kind(end.kind);
  outcome.set_reason(Utf8(end.reason));
  outcome.set_message(Utf8(end.message));
  outcome.set_exit_code(end.exit_code);
  outcome.set_signal(end.signal);
  return outcome;
}

}  // namespace

link::Directive DirectiveOf(const v1::DesiredRank& desired) {
  link::Directive directive;
  directive.job = JobId{desired.job_id()};
  directive.attempt = desired.attempt();
  if (desired.prepare_done()) {
    directive.prepared.emplace();
    for (const v1::PreparedFile& file : desired.prepared())
      directive.prepared->push_back({file.name(), file.key(), file.sha256(), file.size_bytes()});
    directive.choices.emplace();
    for (const v1::Choice& choice : desired.choices())
      directive.choices->push_back({choice.field(), choice.value(), choice.why()});
  }
  directive.peers.assign(desired.peers().begin(), desired.peers().end());
  directive.attempt_secret = desired.attempt_secret();
  if (desired.has_resume())
    directive.resume = {desired.resume().step(), desired.resume().key(),
                        desired.resume().manifest_digest()};
  directive.recorded_step = desired.recorded_step();
  directive.stop = StopOf(desired) == Stop::kNow          ? link::StopMode::kNow
                   : StopOf(desired) == Stop::kCheckpoint ? link::StopMode::kCheckpoint
                                                          : link::StopMode::kNone;
  return directive;
}

void Core::Adopt(const RankRecord& record, absl::Duration now) {
  Rank rank;
  rank.pid = record.process.pid;
  rank.beat_grew_at = now;
  rank.present = PresentRank{.key = record.key};
  rank.present.alive = !record.ended;
  if (record.ended) rank.end = record.end;
  ranks_[record.key] = std::move(rank);
}

void Core::OnDesired(const v1::DesiredState& desired, absl::Duration now) {
  told_ = true;
  desired_ = desired;
  wanted_.clear();
  for (v1::DesiredRank& rank : *desired_.mutable_ranks()) {
    if (draining_ && !ranks_.contains(KeyOf(rank))) continue;
    if (draining_ && StopOf(rank) == Stop::kNone) rank.set_stop("checkpoint");
    if (IsSafeJobId(rank.job_id()) && rank.attempt() > 0 && rank.rank().rank() >= 0)
      wanted_[KeyOf(rank)] = &rank;
    else
      spdlog::error(
          "the coordinator wants a rank with an impossible name ('{}' attempt {} rank {})",
          rank.job_id(), rank.attempt(), rank.rank().rank());
  }
  NoteStops(now);
}

void Core::NoteStops(absl::Duration now) {
  for (auto& [key, rank] : ranks_) {
    const auto wanted = wanted_.find(key);
    if (wanted == wanted_.end()) {
      if (!rank.present.alive)
        rank.present.unwanted_since = std::min(rank.present.unwanted_since, now);
      continue;
    }
    rank.present.unwanted_since = absl::InfiniteDuration();
    const Stop stop = StopOf(*wanted->second);
    if (stop == Stop::kCheckpoint)
      rank.present.stop_checkpoint_since = std::min(rank.present.stop_checkpoint_since, now);
    if (stop == Stop::kNow)
      rank.present.stop_now_since = std::min(rank.present.stop_now_since, now);
  }
}

void Core::OnStarted(const RankKey& key, int64_t pid, absl::Duration now) {
  Rank rank;
  rank.pid = pid;
  rank.beat_grew_at = now;
  rank.present = PresentRank{.key = key};
  rank.present.alive = true;
  ranks_[key] = std::move(rank);
}

void Core::OnStatus(const RankKey& key, const link::RankStatus& status, absl::Duration now) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end() || status.job != key.job || status.attempt != key.attempt ||
      status.rank != key.rank)
    return;
  Rank& rank = at->second;
  // A new phase is a sign of life as much as a micro-batch.
  if (!rank.linked || status.beat > rank.status.beat || status.phase != rank.status.phase ||
      status.waiting_for_coordinator)
    rank.beat_grew_at = now;
  // Bytes of its last checkpoint arrive: its grace to write it begins anew.
  if (status.phase == link::Phase::kSaving && status.beat > rank.status.beat &&
      rank.present.stop_checkpoint_since != absl::InfiniteDuration())
    rank.present.stop_checkpoint_since = now;
  rank.linked = true;
  rank.heard_at = now;
  rank.status = status;
}

void Core::OnEnded(const RankKey& key, const RankEnd& end, absl::Duration now) {
  Rank& rank = ranks_[key];
  rank.present.key = key;
  rank.present.alive = false;
  rank.end = end;
  NoteStops(now);
}

void Core::OnShipped(const RankKey& key) {
  if (const auto at = ranks_.find(key); at != ranks_.end()) at->second.present.shipped = true;
}

void Core::Drain(absl::Duration now) {
  draining_ = true;
  hello_.clear_slots();
  if (told_) OnDesired(v1::DesiredState(desired_), now);
}

std::vector<PresentRank> Core::Present() const {
  std::vector<PresentRank> present;
  for (const auto& [key, rank] : ranks_) present.push_back(rank.present);
  return present;
}

std::vector<Action> Core::Decide(absl::Duration now) {
  if (!told_) return {};
  std::vector<WantedRank> wanted;
  for (const auto& [key, desired] : wanted_) wanted.push_back({key, StopOf(*desired)});
  std::vector<Action> actions = Reconcile(wanted, Present(), now, limits_);
  for (const Action& action : actions) {
    if (action.kind == ActionKind::kKill) {
      ranks_[action.key].present.kill_sent = true;
      ranks_[action.key].killed_why = action.why;
    } else if (action.kind == ActionKind::kDecline) {
      OnEnded(action.key, {"stopped", "STOPPED", action.why, 0, 0}, now);
      OnShipped(action.key);
    } else if (action.kind == ActionKind::kForget) {
      ranks_.erase(action.key);
    }
  }
  return actions;
}

absl::Duration Core::NextDeadline() const {
  return told_ ? worker::NextDeadline(Present(), limits_) : absl::InfiniteDuration();
}

std::optional<link::Directive> Core::DirectiveFor(const RankKey& key) const {
  const auto wanted = wanted_.find(key);
  if (wanted == wanted_.end()) return std::nullopt;
  return DirectiveOf(*wanted->second);
}

const v1::DesiredRank* Core::Wanted(const RankKey& key) const {
  const auto wanted = wanted_.find(key);
  return wanted == wanted_.end() ? nullptr : wanted->second;
}

std::vector<RankKey> Core::Unshipped() const {
  std::vector<RankKey> keys;
  for (const auto& [key, rank] : ranks_)
    if (!rank.present.alive && !rank.present.shipped) keys.push_back(key);
  return keys;
}

std::string Core::KilledWhy(const RankKey& key) const {
  const auto at = ranks_.find(key);
  return at == ranks_.end() ? "" : at->second.killed_why;
}

int64_t Core::AliveRanks() const {
  return std::count_if(ranks_.begin(), ranks_.end(),
                       [](const auto& entry) { return entry.second.present.alive; });
}

v1::WorkerReport Core::Report(absl::Duration now) const {
  v1::WorkerReport report = hello_;
  for (const auto& [key, rank] : ranks_) *report.add_ranks() = ReportOf(key, rank, now);
  return report;
}

v1::RankReport Core::ReportOf(const RankKey& key, const Rank& rank, absl::Duration now) const {
  v1::RankReport report;
  report.set_job_id(key.job.value);
  report.set_attempt(key.attempt);
  report.set_rank(key.rank);
  const bool silent = now - rank.heard_at >= kSilentAfter;
  report.set_process(!rank.present.alive ? "exited"
                     : !rank.linked      ? "spawning"
                     : silent            ? "silent"
                                         : "running");
  report.set_pid(rank.pid);
  if (rank.end) *report.mutable_outcome() = ToProto(*rank.end);
  if (rank.present.alive)
    report.set_beat_age_seconds(absl::ToDoubleSeconds(now - rank.beat_grew_at));
  if (!rank.linked) return report;
  const link::RankStatus& status = rank.status;
  report.set_phase(std::string(link::PhaseName(status.phase)));
  report.set_doing(Utf8(status.doing));
  report.set_step(status.step);
  report.set_beat(status.beat);
  report.set_waiting_for_coordinator(status.waiting_for_coordinator);
  report.set_collective_sequence(status.collective_sequence);
  report.set_step_seconds_p99(status.step_seconds_p99);
  report.set_listen_address(Utf8(status.listen_address));
  if (status.prepared) SetPrepared(*status.prepared, report);
  if (status.choices) SetChoices(*status.choices, report);
  if (status.checkpoint) {
    report.set_checkpoint_step(status.checkpoint->step);
    report.set_checkpoint_key(Utf8(status.checkpoint->key));
    report.set_checkpoint_digest(Utf8(status.checkpoint->manifest_digest));
    report.set_checkpoint_size_bytes(status.checkpoint->size_bytes);
  }
  if (status.checkpoint_failure) {
    report.set_failed_checkpoint_step(status.checkpoint_failure->step);
    report.set_checkpoint_failure(Utf8(status.checkpoint_failure->message));
  }
  return report;
}

}  // namespace trainyard::worker

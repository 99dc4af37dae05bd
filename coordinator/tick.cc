#include "coordinator/tick.h"

#include <utility>

#include "coordinator/attempts.h"
#include "coordinator/hang.h"

namespace trainyard::coordinator {
namespace {

constexpr char kSelf[] = "coordinator";
// A silent worker without ranks is part of the cluster for this long.
constexpr absl::Duration kWorkerKept = absl::Hours(1);

Status LoseRanks(Ledger& ledger, const WorkerEntry& worker, JobEntry& entry) {
  const Attempt& open = *OpenAttempt(*entry.job);
  for (const RankPlacement& placement : open.ranks) {
    RankState& state = entry.ranks[static_cast<size_t>(placement.rank)];
    if (placement.slot.worker != worker.worker.id || state.gone) continue;
    Outcome outcome{.kind = "failed",
                    .reason = "WORKER_LOST",
                    .message = fmt::format("{} has not reported for {}", worker.worker.id.value,
                                           absl::FormatDuration(ledger.options().rank_lost_after))};
    RETURN_IF_ERROR(ledger.Emit(
        entry, kSelf,
        {Happened("RankLost", open.number,
                  fmt::format("{}: {}", RankName(open, placement.rank), outcome.message),
                  {{"rank", placement.rank}, {"worker", worker.worker.id.value}})}));
    ++ledger.counters().ranks_lost;
    state.outcome = std::move(outcome);
    state.gone = true;
  }
  return Advance(ledger, entry);
}

Status LoseWorker(Ledger& ledger, WorkerEntry& worker) {
  const std::vector<JobId> jobs(worker.jobs.begin(), worker.jobs.end());
  for (const JobId& job : jobs) RETURN_IF_ERROR(LoseRanks(ledger, worker, *ledger.Find(job)));
  if (worker.lost) return OkStatus();
  RETURN_IF_ERROR(ledger.EmitClusterEvent(
      kSelf, Happened("WorkerLost", 0,
                      fmt::format("{} has not reported for {}", worker.worker.id.value,
                                  absl::FormatDuration(ledger.options().rank_lost_after)),
                      {{"worker", worker.worker.id.value}})));
  worker.lost = true;
  return OkStatus();
}

// Every rank as last reported; empty when some rank's word is too old to judge by.
std::vector<RankBeat> FreshBeats(const Ledger& ledger, const JobEntry& entry) {
  std::vector<RankBeat> beats;
  for (size_t i = 0; i < entry.ranks.size(); ++i) {
    const RankState& rank = entry.ranks[i];
    const absl::Duration silent = ledger.Steady() - rank.last_seen;
    if (rank.gone || !rank.seen || silent > ledger.options().unreachable_after) return {};
    beats.push_back({static_cast<int32_t>(i), rank.live});
  }
  return beats;
}

Status WatchSteps(Ledger& ledger, JobEntry& entry) {
  if (entry.job->state != JobState::kRunning) return OkStatus();
  const Attempt* open = OpenAttempt(*entry.job);
  if (open == nullptr || IsEnding(*open)) return OkStatus();
  const HangLimits limits{
      .deadline_min = ledger.options().step_deadline_min,
      .step_timeout = absl::Seconds(entry.job->spec->limits.step_timeout_seconds)};
  const auto hung = FindHungRank(FreshBeats(ledger, entry), limits);
  if (!hung) return OkStatus();
  const ReasonRow row = FindReason("RANK_HUNG");
  const std::string sentence = fmt::format(
      "{} made no progress for {:.0f} s at step {} ({}); the deadline of a step is {:.0f} s",
      RankName(*open, hung->rank), absl::ToDoubleSeconds(hung->beat_age), hung->step, hung->phase,
      absl::ToDoubleSeconds(hung->deadline));
  Change happened = Happened("RankHung", open->number, sentence,
                             {{"rank", hung->rank},
                              {"step", hung->step},
                              {"phase", hung->phase},
                              {"beat_age_seconds", absl::ToDoubleSeconds(hung->beat_age)}});
  RETURN_IF_ERROR(EndAttempt(ledger, entry, {"RANK_HUNG", row.owner, sentence}, row.remedy,
                             {std::move(happened)}));
  ++ledger.counters().ranks_hung;
  return OkStatus();
}

// Why the job waits, written into it when the kind of reason changes.
Status NoteWait(Ledger& ledger, JobEntry& entry, const Wait& wait) {
  if (entry.wait_code == wait.code) return OkStatus();
  if (entry.job->state == JobState::kQueued) {
    RETURN_IF_ERROR(ledger.Emit(
        entry, kSelf,
        {JobNoted({wait.code, ReasonOwner::kNone, wait.sentence}, entry.job->not_before)}));
  }
  entry.wait_code = wait.code;
  return OkStatus();
}

}  // namespace

Status WatchWorkers(Ledger& ledger) {
  std::vector<WorkerId> forgotten;
  for (auto& [id, worker] : ledger.workers()) {
    const absl::Duration silent = ledger.Steady() - worker.last_report;
    if (worker.worker.reachable != ledger.IsReachable(worker)) {
      worker.worker.reachable = ledger.IsReachable(worker);
      ledger.SetScheduleDue();
    }
    const bool is_lost = silent >= ledger.options().rank_lost_after;
    if (is_lost && (!worker.lost || !worker.jobs.empty())) {
      RETURN_IF_ERROR(LoseWorker(ledger, worker));
    }
    if (silent >= kWorkerKept && worker.jobs.empty()) forgotten.push_back(id);
  }
  for (const WorkerId& id : forgotten) ledger.ForgetWorker(id);
  return OkStatus();
}

Status WatchJobs(Ledger& ledger) {
  const std::vector<JobId> active(ledger.active().begin(), ledger.active().end());
  for (const JobId& id : active) {
    JobEntry& entry = *ledger.Find(id);
    RETURN_IF_ERROR(Advance(ledger, entry));
    RETURN_IF_ERROR(WatchSteps(ledger, entry));
    if (ledger.Steady() >= entry.deadline) RETURN_IF_ERROR(TakeDeadline(ledger, entry));
  }
  return OkStatus();
}

Status RunSchedule(Ledger& ledger) {
  if (!ledger.ScheduleIsDue()) return OkStatus();
  const Decision decision = Schedule(ledger.Steady(), ledger.queue(), ledger.UseOfSlots());
  for (const Placement& placement : decision.start) {
    RETURN_IF_ERROR(StartAttempt(ledger, *ledger.Find(placement.job), placement));
  }
  for (const Wait& wait : decision.waits) {
    if (ledger.IsSettling()) break;
    RETURN_IF_ERROR(NoteWait(ledger, *ledger.Find(wait.job), wait));
  }
  ledger.SetScheduled();
  return OkStatus();
}

}  // namespace trainyard::coordinator

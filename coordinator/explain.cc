#include "coordinator/explain.h"

#include <algorithm>

#include "coordinator/hang.h"

namespace trainyard::coordinator {
namespace {

// From which age of a beat on a rank is worth a word.
constexpr absl::Duration kNotable = absl::Seconds(5);

double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

absl::Duration BeatAge(const Ledger& ledger, const RankState& rank) {
  return rank.live.beat_age + (ledger.Steady() - rank.last_seen);
}

// "rank 1 on worker-1 has made no progress for 8 s at step 37 (training)", or "".
std::string SlowRank(const Ledger& ledger, const JobEntry& entry, const Attempt& attempt) {
  std::vector<RankBeat> beats;
  for (size_t i = 0; i < entry.ranks.size(); ++i) {
    const RankState& rank = entry.ranks[i];
    if (rank.gone || !rank.seen || rank.live.waiting_for_coordinator) continue;
    beats.push_back({static_cast<int32_t>(i), rank.live});
    beats.back().live.beat_age = BeatAge(ledger, rank);
  }
  const RankBeat* behind = FurthestBehind(beats);
  if (behind == nullptr || behind->live.beat_age < kNotable) return "";
  return fmt::format("{} has made no progress for {:.0f} s at step {} ({})",
                     RankName(attempt, behind->rank), Seconds(behind->live.beat_age),
                     behind->live.step, behind->live.phase);
}

// "loading: reading weights, 120 of 538 MB".
std::string PhaseOf(const RankLive& live) {
  return live.doing.empty() ? live.phase : live.phase + ": " + live.doing;
}

// "rank 1 on worker-1 has not reported yet", for the first rank that does not work.
std::string Laggard(const JobEntry& entry, const Attempt& attempt) {
  for (size_t i = 0; i < entry.ranks.size(); ++i) {
    const RankState& rank = entry.ranks[i];
    const std::string name = RankName(attempt, static_cast<int32_t>(i));
    if (!rank.seen) return name + " has not reported yet";
    if (!entry.job->prepare_done && i == 0) {
      return fmt::format("{} prepares the data ({})", name, PhaseOf(rank.live));
    }
    if (!IsWorkingPhase(rank.live.phase)) return fmt::format("{} is {}", name, PhaseOf(rank.live));
  }
  return "";
}

std::string UnreachableWorkers(const Ledger& ledger, const Attempt& attempt) {
  std::set<WorkerId> told;
  std::string text;
  for (const RankPlacement& rank : attempt.ranks) {
    const WorkerEntry* worker = ledger.FindWorker(rank.slot.worker);
    if (worker == nullptr || ledger.IsReachable(*worker)) continue;
    if (!told.insert(rank.slot.worker).second) continue;
    text += fmt::format("; {} has not reported for {:.0f} s", rank.slot.worker.value,
                        Seconds(ledger.Steady() - worker->last_report));
  }
  return text;
}

std::string PreviousEnd(const Job& job) {
  if (job.attempts.size() < 2) return "";
  const Attempt& last = job.attempts[job.attempts.size() - 2];
  return fmt::format(" (attempt {} ended: {})", last.number, last.end_message);
}

std::string RunningSentence(const Ledger& ledger, const JobEntry& entry) {
  const Job& job = *entry.job;
  const Attempt* open = OpenAttempt(job);
  if (open == nullptr) return job.message;
  const std::string slow = SlowRank(ledger, entry, *open);
  int64_t step = 0;
  for (const RankState& rank : entry.ranks) step = std::max(step, rank.live.step);
  return fmt::format("runs as attempt {}{}: step {} of {}{}{}{}", open->number, PreviousEnd(job),
                     step, job.spec->train.max_steps, slow.empty() ? "" : "; ", slow,
                     UnreachableWorkers(ledger, *open));
}

std::string StartingSentence(const Ledger& ledger, const JobEntry& entry) {
  const Job& job = *entry.job;
  const Attempt* open = OpenAttempt(job);
  if (open == nullptr) return job.message;
  const std::string laggard = Laggard(entry, *open);
  return fmt::format("attempt {} starts{}{}{}{}", open->number, PreviousEnd(job),
                     laggard.empty() ? "" : ": ", laggard, UnreachableWorkers(ledger, *open));
}

std::string WaitingSentence(const Ledger& ledger, const JobEntry& entry) {
  const Wait wait = WhyWaiting(ledger.Steady(), ledger.queue(), ledger.UseOfSlots(), *entry.demand);
  const bool recovers = entry.job->state == JobState::kRecovering;
  return recovers ? fmt::format("{}; the next waits: {}", entry.job->message, wait.sentence)
                  : "waits: " + wait.sentence;
}

std::string StoppingSentence(const JobEntry& entry) {
  std::string waits_for;
  const Attempt* open = OpenAttempt(*entry.job);
  for (size_t i = 0; open != nullptr && i < entry.ranks.size(); ++i) {
    if (entry.ranks[i].gone) continue;
    waits_for += fmt::format("{}{}", waits_for.empty() ? "; waits for the end of " : ", ",
                             RankName(*open, static_cast<int32_t>(i)));
  }
  return entry.job->message + waits_for;
}

std::string Sentence(const Ledger& ledger, const JobEntry& entry) {
  const Attempt* open = OpenAttempt(*entry.job);
  if (entry.demand) return WaitingSentence(ledger, entry);
  if (open != nullptr && IsEnding(*open)) return StoppingSentence(entry);
  switch (entry.job->state) {
    case JobState::kStarting:
    case JobState::kRecovering:
      return StartingSentence(ledger, entry);
    case JobState::kRunning:
      return RunningSentence(ledger, entry);
    default:
      return entry.job->message;
  }
}

std::string RankLine(const Ledger& ledger, const Attempt& attempt, const RankState& rank,
                     int32_t index) {
  std::string line = RankName(attempt, index) + ": ";
  if (rank.outcome) {
    return line + fmt::format("exited: {} {} {}", rank.outcome->kind, rank.outcome->reason,
                              rank.outcome->message);
  }
  if (!rank.seen) return line + "not reported yet";
  return line + fmt::format("{} {}, step {}, beat {} {:.0f} s ago, {} collectives{}",
                            rank.live.process, PhaseOf(rank.live), rank.live.step, rank.live.beat,
                            Seconds(BeatAge(ledger, rank)), rank.live.collective_sequence,
                            rank.live.waiting_for_coordinator ? ", waits for the coordinator" : "");
}

}  // namespace

Explanation ExplainJob(const Ledger& ledger, const JobEntry& entry) {
  const Job& job = *entry.job;
  Explanation explanation;
  explanation.sentence =
      fmt::format("{} is {}: {}", job.id.value, JobStateName(job.state), Sentence(ledger, entry));
  std::vector<std::string>& evidence = explanation.evidence;
  if (!job.reason.empty()) {
    const std::string_view owner = ReasonOwnerName(job.reason_owner);
    evidence.push_back(
        fmt::format("reason {}{}{}", job.reason, owner.empty() ? "" : ", owner ", owner));
  }
  if (const Checkpoint* newest = NewestCheckpoint(job)) {
    evidence.push_back(
        fmt::format("newest recorded checkpoint: step {}, {}", newest->step, newest->key));
  }
  if (const Attempt* open = OpenAttempt(job)) {
    for (size_t i = 0; i < entry.ranks.size(); ++i) {
      evidence.push_back(RankLine(ledger, *open, entry.ranks[i], static_cast<int32_t>(i)));
    }
  }
  for (const auto& [id, worker] : ledger.workers()) {
    if (evidence.size() > 50) break;
    evidence.push_back(fmt::format("{}: {}, {} slots, last report {:.1f} s ago", id.value,
                                   ledger.IsReachable(worker) ? "connected" : "unreachable",
                                   worker.worker.slots.size(),
                                   Seconds(ledger.Steady() - worker.last_report)));
  }
  return explanation;
}

std::string DescribeEvent(const Event& event) {
  return fmt::format(
      "{} {}{}: {}", absl::FormatTime("%H:%M:%S", event.time, absl::UTCTimeZone()), event.type,
      event.attempt > 0 ? fmt::format(" (attempt {})", event.attempt) : "", event.message);
}

}  // namespace trainyard::coordinator

#include "coordinator/judge.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "coordinator/hang.h"

namespace trainyard::coordinator {
namespace {

// A survivor's PEER_LOST may arrive before the report about the peer itself: reports come about
// every second.
constexpr absl::Duration kCauseGrace = absl::Seconds(2);
// Between the last rank's exit and the report of the last checkpoint.
constexpr absl::Duration kLastCheckpointGrace = absl::Seconds(5);
// Between the first rank's exit after the last step and the last one's.
constexpr absl::Duration kExitGrace = absl::Seconds(60);

std::string ReasonOfOutcome(const Outcome& outcome) {
  if (!outcome.reason.empty()) return outcome.reason;
  if (outcome.kind == "stopped") return "STOPPED";
  return outcome.signal != 0 ? "KILLED" : "INTERNAL";
}

std::string Describe(const Attempt& attempt, int32_t rank, const Outcome& outcome,
                     const ReasonRow& row) {
  std::string text = RankName(attempt, rank);
  if (outcome.signal != 0) {
    text += fmt::format(" was killed (signal {})", outcome.signal);
  } else if (outcome.kind == "stopped") {
    text += " was stopped";
  } else {
    text += " failed";
  }
  return fmt::format("{}: {}", text, outcome.message.empty() ? row.meaning : outcome.message);
}

}  // namespace

std::string RankName(const Attempt& attempt, int32_t rank) {
  for (const RankPlacement& placement : attempt.ranks) {
    if (placement.rank == rank)
      return fmt::format("rank {} on {}", rank, placement.slot.worker.value);
  }
  return fmt::format("rank {}", rank);
}

std::optional<Cause> FirstCause(const Attempt& attempt, const std::vector<RankState>& ranks) {
  std::optional<Cause> first;
  std::tuple<bool, bool, bool> best;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto& outcome = ranks[i].outcome;
    if (!outcome || outcome->kind == "succeeded") continue;
    const std::string reason = ReasonOfOutcome(*outcome);
    const ReasonRow row = FindReason(reason);
    // Smaller is nearer to the cause; among equals the lower rank.
    const std::tuple order(outcome->kind == "stopped", IsEcho(reason), row.remedy != Remedy::kFail);
    if (first && order >= best) continue;
    best = order;
    first = Cause{{reason, row.owner, Describe(attempt, static_cast<int32_t>(i), *outcome, row)},
                  row.remedy};
  }
  return first;
}

Verdict Judge(const Job& job, const Attempt& attempt, const std::vector<RankState>& ranks) {
  using Kind = Verdict::Kind;
  if (auto cause = FirstCause(attempt, ranks)) {
    const absl::Duration after = IsEcho(cause->why.reason) ? kCauseGrace : absl::ZeroDuration();
    return {Kind::kEnds, std::move(cause->why), cause->remedy, after};
  }
  const Checkpoint* newest = NewestCheckpoint(job);
  const bool has_last_checkpoint = newest != nullptr && newest->step >= job.spec->train.max_steps;
  const auto has_exited = [](const RankState& r) { return r.outcome.has_value(); };
  const auto exited = std::count_if(ranks.begin(), ranks.end(), has_exited);
  if (exited == static_cast<int64_t>(ranks.size())) {
    if (has_last_checkpoint) return {Kind::kSucceeded, {}, {}, {}};
    const ReasonRow row = FindReason("CHECKPOINT_MISSING");
    return {Kind::kEnds,
            {"CHECKPOINT_MISSING", row.owner,
             fmt::format("all ranks finished, but no checkpoint of step {} is recorded",
                         job.spec->train.max_steps)},
            row.remedy,
            kLastCheckpointGrace};
  }
  const bool all_done = std::all_of(ranks.begin(), ranks.end(), [&](const RankState& r) {
    return r.outcome || r.live.step >= job.spec->train.max_steps;
  });
  // Nothing is left to wait for, not even for the coordinator.
  if (exited > 0 || (all_done && has_last_checkpoint)) {
    const auto running = std::find_if_not(ranks.begin(), ranks.end(), has_exited);
    const ReasonRow row = FindReason("EXIT_TIMEOUT");
    const Why why = {"EXIT_TIMEOUT", row.owner,
                     fmt::format("{} has not exited after the last step",
                                 RankName(attempt, static_cast<int32_t>(running - ranks.begin())))};
    return {Kind::kEnds, why, row.remedy, kExitGrace};
  }
  const bool all_work = std::all_of(ranks.begin(), ranks.end(), [](const RankState& r) {
    return r.seen && r.live.process == "running" && IsWorkingPhase(r.live.phase);
  });
  return {all_work ? Kind::kWorks : Kind::kNothing, {}, {}, {}};
}

}  // namespace trainyard::coordinator

#include "coordinator/hang.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace trainyard::coordinator {
namespace {

constexpr double kDeadlineInP99s = 6;
constexpr double kSavingFactor = 10;
constexpr absl::Duration kSavingMin = absl::Minutes(2);

bool IsSaving(std::string_view phase) { return phase == "saving" || phase == "checkpointing"; }

bool HasStepDeadline(std::string_view phase) {
  return phase.empty() || phase == "training" || phase == "evaluating" || IsSaving(phase);
}

// Of the whole attempt: the slowest rank's, since the others wait for it.
absl::Duration DeadlineOf(const std::vector<RankBeat>& ranks, const HangLimits& limits) {
  absl::Duration deadline = std::max(limits.deadline_min, limits.step_timeout);
  for (const RankBeat& rank : ranks) {
    deadline = std::max(deadline, absl::Seconds(kDeadlineInP99s * rank.live.step_seconds_p99));
  }
  const bool saving = std::any_of(ranks.begin(), ranks.end(),
                                  [](const RankBeat& r) { return IsSaving(r.live.phase); });
  return saving ? std::max(kSavingFactor * deadline, kSavingMin) : deadline;
}

}  // namespace

const RankBeat* FurthestBehind(const std::vector<RankBeat>& ranks) {
  const RankBeat* behind = nullptr;
  const auto position = [](const RankBeat& r) {
    return std::tuple(r.live.process != "silent", r.live.collective_sequence, r.live.step,
                      r.live.beat, -r.live.beat_age);
  };
  for (const RankBeat& rank : ranks) {
    if (behind == nullptr || position(rank) < position(*behind)) behind = &rank;
  }
  return behind;
}

std::optional<HungRank> FindHungRank(const std::vector<RankBeat>& ranks, const HangLimits& limits) {
  for (const RankBeat& rank : ranks) {
    if (rank.live.waiting_for_coordinator || !HasStepDeadline(rank.live.phase)) return std::nullopt;
  }
  const RankBeat* behind = FurthestBehind(ranks);
  if (behind == nullptr) return std::nullopt;
  const absl::Duration deadline = DeadlineOf(ranks, limits);
  if (behind->live.beat_age < deadline - limits.margin) return std::nullopt;
  // The others stop a step later than the one they wait for: half the deadline is proof enough.
  for (const RankBeat& rank : ranks) {
    if (rank.live.beat_age < deadline / 2) return std::nullopt;
  }
  return HungRank{behind->rank, behind->live.step, behind->live.phase, behind->live.beat_age,
                  deadline};
}

bool IsWorkingPhase(std::string_view phase) {
  constexpr std::array<std::string_view, 8> kBefore = {
      "", "spawning", "starting", "preparing", "waiting", "connecting", "loading", "compiling"};
  return std::find(kBefore.begin(), kBefore.end(), phase) == kBefore.end();
}

}  // namespace trainyard::coordinator

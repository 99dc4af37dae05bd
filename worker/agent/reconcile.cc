#include "worker/agent/reconcile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace trainyard::worker {
namespace {

// The end of a rank's grace; infinite while it may run.
absl::Duration KillAt(const PresentRank& rank, const ReconcileLimits& limits) {
  return std::min(rank.stop_checkpoint_since + limits.checkpoint_grace,
                  rank.stop_now_since + limits.now_grace);
}

bool BlocksStartOf(const PresentRank& here, const RankKey& key) {
  return here.alive && here.key != key && here.key.job == key.job && here.key.rank == key.rank;
}

}  // namespace

std::vector<Action> Reconcile(const std::vector<WantedRank>& wanted,
                              const std::vector<PresentRank>& present, absl::Duration now,
                              const ReconcileLimits& limits) {
  std::map<RankKey, Stop> stop_of;
  for (const WantedRank& rank : wanted) stop_of[rank.key] = rank.stop;
  std::map<RankKey, const PresentRank*> here;
  for (const PresentRank& rank : present) here[rank.key] = &rank;

  std::vector<Action> actions;
  for (const PresentRank& rank : present) {
    const bool is_wanted = stop_of.contains(rank.key);
    if (rank.alive) {
      if (rank.kill_sent) continue;
      if (!is_wanted)
        actions.push_back({ActionKind::kKill, rank.key, "the coordinator does not want it"});
      else if (now >= KillAt(rank, limits))
        actions.push_back({ActionKind::kKill, rank.key, "it did not stop within its grace"});
    } else if (!is_wanted && rank.shipped) {
      actions.push_back({ActionKind::kForget, rank.key, "everything it said is shipped"});
    } else if (!is_wanted && now >= rank.unwanted_since + limits.forget_after) {
      actions.push_back({ActionKind::kForget, rank.key,
                         fmt::format("its last words could not be shipped within {}",
                                     absl::FormatDuration(limits.forget_after))});
    }
  }
  for (const WantedRank& rank : wanted) {
    if (here.contains(rank.key)) continue;
    if (rank.stop != Stop::kNone) {
      actions.push_back({ActionKind::kDecline, rank.key, "told to stop before it was started"});
      continue;
    }
    const bool blocked = std::any_of(present.begin(), present.end(), [&](const PresentRank& other) {
      return BlocksStartOf(other, rank.key);
    });
    if (!blocked) actions.push_back({ActionKind::kStart, rank.key, "the coordinator wants it"});
  }
  return actions;
}

absl::Duration NextDeadline(const std::vector<PresentRank>& present,
                            const ReconcileLimits& limits) {
  absl::Duration next = absl::InfiniteDuration();
  for (const PresentRank& rank : present) {
    if (rank.alive && !rank.kill_sent)
      next = std::min(next, KillAt(rank, limits));
    else if (!rank.alive && !rank.shipped)
      next = std::min(next, rank.unwanted_since + limits.forget_after);
  }
  return next;
}

}  // namespace trainyard::worker

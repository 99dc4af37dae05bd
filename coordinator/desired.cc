#include "coordinator/desired.h"

#include <utility>

#include "coordinator/attempts.h"

namespace trainyard::coordinator {
namespace {

Stop StopOf(const Job& job, const Attempt& attempt) {
  if (IsEnding(attempt)) return Stop::kNow;
  return SavesAndStops(job, attempt) ? Stop::kCheckpoint : Stop::kNone;
}

std::vector<std::string> Peers(const JobEntry& entry) {
  std::vector<std::string> peers;
  if (!entry.job->prepare_done) return peers;
  for (const RankState& rank : entry.ranks) {
    if (rank.live.listen_address.empty()) return {};
    peers.push_back(rank.live.listen_address);
  }
  return peers;
}

void AddDesired(const JobEntry& entry, const WorkerId& worker, DesiredState& desired) {
  const Job& job = *entry.job;
  const Attempt& attempt = *OpenAttempt(job);
  for (const RankPlacement& placement : attempt.ranks) {
    if (placement.slot.worker != worker) continue;
    DesiredRank rank;
    rank.job = job.id;
    rank.attempt = attempt.number;
    rank.placement = placement;
    rank.all_ranks = attempt.ranks;
    rank.spec = job.spec;
    rank.attempt_secret = entry.secret;
    rank.peers = Peers(entry);
    rank.prepare_done = job.prepare_done;
    rank.prepared = job.prepared;
    rank.choices = job.choices;
    for (const Checkpoint& checkpoint : job.checkpoints) {
      const bool is_resumed = checkpoint.step == attempt.resumed_from_step;
      if (is_resumed && checkpoint.attempt < attempt.number) rank.resume = checkpoint;
    }
    const Checkpoint* newest = NewestCheckpoint(job);
    rank.recorded_step = newest == nullptr ? -1 : newest->step;
    rank.stop = StopOf(job, attempt);
    desired.ranks.push_back(std::move(rank));
  }
}

}  // namespace

DesiredState DesiredOf(const Ledger& ledger, const WorkerId& worker) {
  DesiredState desired;
  desired.coordinator_epoch = ledger.options().epoch;
  desired.blob_probe_key = ledger.options().blob_probe_key;
  const WorkerEntry* entry = ledger.FindWorker(worker);
  if (entry == nullptr) return desired;
  for (const JobId& job : entry->jobs) AddDesired(*ledger.Find(job), worker, desired);
  return desired;
}

}  // namespace trainyard::coordinator

#include "coordinator/scheduler/scheduler.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace trainyard::coordinator {
namespace {

// Shares are sums of a few decimal fractions: 0.3 + 0.3 + 0.4 must fill a slot.
constexpr double kShareSlack = 1e-9;

bool Fits(const SlotUse& slot, double share) { return slot.used + share <= 1 + kShareSlack; }

// The fullest slot of `worker` that still takes `demand`; null if none does.
SlotUse* TightestSlot(WorkerUse& worker, const std::string& device, double share) {
  SlotUse* best = nullptr;
  for (SlotUse& slot : worker.slots) {
    if (slot.device != device || !Fits(slot, share)) continue;
    if (best == nullptr || slot.used > best->used) best = &slot;
  }
  return best;
}

// Places ranks first.. on `worker` as long as they fit, taking their shares; returns how many.
size_t FillWorker(WorkerUse& worker, const Demand& demand, size_t first,
                  std::vector<RankPlacement>* placed) {
  size_t n = 0;
  for (size_t rank = first; rank < demand.ranks.size(); ++rank, ++n) {
    const RankDemand& wanted = demand.ranks[rank];
    SlotUse* slot = TightestSlot(worker, demand.device, wanted.share);
    if (slot == nullptr) break;
    slot->used += wanted.share;
    slot->used_by.push_back(demand.job);
    if (placed == nullptr) continue;
    RankPlacement placement;
    placement.rank = static_cast<int32_t>(rank);
    placement.role = wanted.role;
    placement.slot = {worker.id, slot->index};
    placement.share = wanted.share;
    // Only `train` ranks are on the mesh; the data axis is the only one yet.
    placement.mesh.data = static_cast<int32_t>(rank);
    placed->push_back(std::move(placement));
  }
  return n;
}

// The worker that takes most of the remaining ranks; among equals one on a host in use already,
// then the one that is left with the least room, then the first by name.
WorkerUse* BestWorker(std::vector<WorkerUse>& workers, const Demand& demand, size_t first,
                      const std::set<std::string>& hosts, const std::set<WorkerId>& taken) {
  WorkerUse* best = nullptr;
  std::tuple<size_t, bool, double> best_score;
  for (WorkerUse& worker : workers) {
    if (!worker.unusable.empty() || taken.contains(worker.id)) continue;
    WorkerUse trial = worker;
    const size_t fits = FillWorker(trial, demand, first, nullptr);
    if (fits == 0) continue;
    double used = 0, slots = 0;
    for (const SlotUse& slot : trial.slots) {
      if (slot.device == demand.device) used += slot.used, slots += 1;
    }
    const std::tuple score(fits, hosts.contains(worker.host_id), used - slots);
    if (best == nullptr || score > best_score) best = &worker, best_score = score;
  }
  return best;
}

// All ranks or none; `workers` is changed only on success.
std::optional<std::vector<RankPlacement>> Place(std::vector<WorkerUse>& workers,
                                                const Demand& demand) {
  std::vector<WorkerUse> trial = workers;
  std::vector<RankPlacement> placed;
  std::set<std::string> hosts;
  std::set<WorkerId> taken;
  while (placed.size() < demand.ranks.size()) {
    WorkerUse* worker = BestWorker(trial, demand, placed.size(), hosts, taken);
    if (worker == nullptr) return std::nullopt;
    FillWorker(*worker, demand, placed.size(), &placed);
    hosts.insert(worker->host_id);
    taken.insert(worker->id);
  }
  workers = std::move(trial);
  return placed;
}

// Asks each shape of demand once: a queue of 10,000 has few of them.
class IdleCluster {
 public:
  explicit IdleCluster(const Cluster& cluster) : cluster_(cluster) {}
  bool Fits(const Demand& demand) {
    std::vector<double> shares;
    for (const RankDemand& rank : demand.ranks) shares.push_back(rank.share);
    const auto [found, is_new] = known_.try_emplace({demand.device, std::move(shares)}, false);
    if (is_new) found->second = Try(demand);
    return found->second;
  }

 private:
  bool Try(const Demand& demand) const;
  const Cluster& cluster_;
  std::map<std::pair<std::string, std::vector<double>>, bool> known_;
};

// The cluster as if nothing ran and every known worker were usable.
bool IdleCluster::Try(const Demand& demand) const {
  std::vector<WorkerUse> idle = cluster_.workers;
  for (WorkerUse& worker : idle) {
    worker.unusable.clear();
    for (SlotUse& slot : worker.slots) slot.used = 0;
  }
  return Place(idle, demand).has_value();
}

std::string Slots(const Demand& demand, size_t n) {
  return fmt::format("{} {} slot{}", n, demand.device, n == 1 ? "" : "s");
}

std::string JoinWorkers(const std::vector<RankPlacement>& ranks) {
  std::vector<std::string> names;
  for (const RankPlacement& rank : ranks) {
    if (std::find(names.begin(), names.end(), rank.slot.worker.value) == names.end()) {
      names.push_back(rank.slot.worker.value);
    }
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// What keeps `demand` from being looked at now, apart from slots.
std::optional<Wait> NotYet(absl::Time now, const Demand& demand) {
  if (demand.stopping) {
    return Wait{demand.job, "RANKS_STOPPING",
                "the ranks of its last attempt are still stopping; their slots are free once each "
                "of them is known to be gone"};
  }
  if (demand.not_before > now) {
    const int64_t seconds =
        absl::ToInt64Seconds(absl::Ceil(demand.not_before - now, absl::Seconds(1)));
    return Wait{demand.job, "BACK_OFF",
                fmt::format("its last attempt failed; the next one may start in {} s", seconds)};
  }
  return std::nullopt;
}

std::optional<Wait> TooLarge(const Cluster& cluster, IdleCluster& idle, const Demand& demand) {
  if (cluster.workers.empty()) {
    return Wait{demand.job, "NO_WORKERS",
                fmt::format("{} wanted, but no worker has joined: start `trainyard-worker`",
                            Slots(demand, demand.ranks.size()))};
  }
  if (idle.Fits(demand)) return std::nullopt;
  size_t known = 0;
  for (const WorkerUse& worker : cluster.workers) {
    for (const SlotUse& slot : worker.slots) known += slot.device == demand.device;
  }
  return Wait{demand.job, "TOO_LARGE",
              fmt::format("{} wanted, the cluster has {}: add workers or lower resources.ranks",
                          Slots(demand, demand.ranks.size()), known)};
}

// "worker-0 has 1" for every worker with room, and what is in the way elsewhere.
Wait NoFreeSlots(const std::vector<WorkerUse>& workers, const Demand& demand) {
  size_t free = 0;
  std::vector<std::string> where, unusable;
  std::map<JobId, size_t> holders;
  for (const WorkerUse& worker : workers) {
    size_t here = 0;
    for (const SlotUse& slot : worker.slots) {
      if (slot.device != demand.device) continue;
      here += worker.unusable.empty() && Fits(slot, demand.ranks.front().share);
      for (const JobId& holder : slot.used_by) ++holders[holder];
    }
    free += here;
    if (here > 0) where.push_back(fmt::format("{} has {}", worker.id.value, here));
    if (!worker.unusable.empty()) {
      unusable.push_back(fmt::format("{} {}", worker.id.value, worker.unusable));
    }
  }
  // At most eight names, so that a sentence stays one.
  std::vector<std::string> held_by;
  for (const auto& [holder, count] : holders) {
    if (held_by.size() < 8) held_by.push_back(holder.value);
  }
  if (where.size() > 8) where.resize(8);
  if (unusable.size() > 8) unusable.resize(8);
  std::string sentence =
      fmt::format("{} wanted, {} free", Slots(demand, demand.ranks.size()), free);
  if (!where.empty()) sentence += fmt::format(" ({})", fmt::join(where, ", "));
  if (!unusable.empty()) sentence += fmt::format("; {}", fmt::join(unusable, ", "));
  if (!held_by.empty()) sentence += fmt::format("; waits for {}", fmt::join(held_by, ", "));
  return {demand.job, "NO_FREE_SLOTS", std::move(sentence)};
}

}  // namespace

bool MoreUrgent::operator()(const Demand& a, const Demand& b) const {
  return std::tuple(-a.priority, !a.ran_before, a.age, a.job) <
         std::tuple(-b.priority, !b.ran_before, b.age, b.job);
}

Decision Schedule(absl::Time now, const Queue& queue, const Cluster& cluster) {
  Decision decision;
  std::vector<WorkerUse> workers = cluster.workers;
  std::set<std::string> devices;  // that some worker has
  for (const WorkerUse& worker : workers) {
    for (const SlotUse& slot : worker.slots) devices.insert(slot.device);
  }
  std::set<std::string> held_up;
  IdleCluster idle(cluster);
  const auto wait = [&decision](Wait why) {
    if (decision.waits.size() < kWaitsMax) decision.waits.push_back(std::move(why));
  };
  for (const Demand& demand : queue) {
    // Early stop: a long queue behind a full cluster costs nothing.
    if (held_up.size() == devices.size() && (!devices.empty() || decision.waits.size() > 0)) break;
    if (held_up.contains(demand.device)) continue;
    if (auto not_yet = NotYet(now, demand)) {
      wait(*std::move(not_yet));
    } else if (auto ranks = Place(workers, demand)) {
      std::string reason =
          fmt::format("{} on {}", Slots(demand, ranks->size()), JoinWorkers(*ranks));
      decision.start.push_back({demand.job, *std::move(ranks), std::move(reason)});
    } else if (auto too_large = TooLarge(cluster, idle, demand)) {
      wait(*std::move(too_large));
    } else {
      wait(NoFreeSlots(workers, demand));
      held_up.insert(demand.device);
    }
  }
  return decision;
}

Wait WhyWaiting(absl::Time now, const Queue& queue, const Cluster& cluster, const Demand& demand) {
  IdleCluster idle(cluster);
  if (auto wait = NotYet(now, demand)) return *std::move(wait);
  if (auto wait = TooLarge(cluster, idle, demand)) return *std::move(wait);
  for (const Demand& ahead : queue) {
    if (ahead.job == demand.job) break;
    if (ahead.device != demand.device || NotYet(now, ahead) || TooLarge(cluster, idle, ahead))
      continue;
    return {demand.job, "BEHIND_OTHERS",
            fmt::format("{} wanted; {} comes first ({}) and waits for {}",
                        Slots(demand, demand.ranks.size()), ahead.job.value,
                        ahead.priority > demand.priority ? "larger priority"
                        : ahead.ran_before               ? "it recovers"
                                                         : "it is older",
                        Slots(ahead, ahead.ranks.size()))};
  }
  std::vector<WorkerUse> workers = cluster.workers;
  if (Place(workers, demand)) {
    return {demand.job, "NEXT",
            "its slots are free; it starts with the next turn of the scheduler"};
  }
  return NoFreeSlots(cluster.workers, demand);
}

}  // namespace trainyard::coordinator

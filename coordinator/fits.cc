#include "coordinator/fits.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "common/plan/fit.h"
#include "common/plan/memory.h"

namespace trainyard::coordinator {
namespace {

// Workers of one host share its memory.
struct Host {
  int64_t memory_bytes = 0;
  int64_t slots = 0;
};

// Empty when a worker's memory is not known.
std::map<std::string, Host> HostsOf(const std::vector<Worker>& workers, const std::string& device) {
  std::map<std::string, Host> hosts;
  for (const Worker& worker : workers) {
    const auto slots = std::count_if(worker.slots.begin(), worker.slots.end(),
                                     [&](const Slot& slot) { return slot.device == device; });
    if (!worker.reachable || slots == 0) continue;
    if (worker.memory_bytes <= 0) return {};
    Host& host = hosts[worker.host_id];
    host.memory_bytes = std::max(host.memory_bytes, worker.memory_bytes);
    host.slots += slots;
  }
  return hosts;
}

// How many ranks a host holds, at most its slots; with the first rank, which needs the most, or
// without it.
int64_t RanksThatFit(const Host& host, plan::RankShape shape, bool with_first) {
  if (!with_first) shape.copies_checkpoints = false;
  int64_t ranks = 0;
  while (ranks < host.slots) {
    shape.ranks_on_host = static_cast<int>(ranks + 1);
    if (plan::HostBytes(shape) > host.memory_bytes) break;
    ++ranks;
  }
  return ranks;
}

// Some host holds the first rank, and it and the others together hold all.
bool CanBePlaced(const plan::RankShape& shape, const std::map<std::string, Host>& hosts) {
  int64_t without_first = 0;
  for (const auto& [id, host] : hosts) without_first += RanksThatFit(host, shape, false);
  return std::any_of(hosts.begin(), hosts.end(), [&](const auto& entry) {
    const int64_t with = RanksThatFit(entry.second, shape, true);
    const int64_t others = without_first - RanksThatFit(entry.second, shape, false);
    return with > 0 && with + others >= shape.ranks;
  });
}

}  // namespace

Status CheckFits(const JobSpec& spec, const std::vector<Worker>& workers) {
  // The plan is of training.
  if (spec.resources.device != "cpu" || spec.kind != "pretrain") return OkStatus();
  const std::map<std::string, Host> hosts = HostsOf(workers, spec.resources.device);
  int64_t slots = 0;
  for (const auto& [id, host] : hosts) slots += host.slots;
  if (slots < spec.resources.ranks) return OkStatus();

  // "auto" is decided where the job runs.
  std::optional<plan::RankShape> refused;
  for (const bool bfloat16 : {false, true}) {
    if (spec.train.precision == (bfloat16 ? "fp32" : "bf16")) continue;
    const auto shape = plan::RankShapeOf(spec, plan::VocabularyOf(spec), bfloat16);
    if (!shape.ok() || CanBePlaced(*shape, hosts)) return OkStatus();
    if (!refused || plan::HostBytes(*shape) < plan::HostBytes(*refused)) refused = *shape;
  }
  if (!refused) return OkStatus();
  const Host& largest =
      std::max_element(hosts.begin(), hosts.end(), [](const auto& a, const auto& b) {
        return a.second.memory_bytes < b.second.memory_bytes;
      })->second;
  refused->ranks_on_host = static_cast<int>(std::min<int64_t>(refused->ranks, largest.slots));
  const plan::Fit fit = plan::FitInto(*refused, largest.memory_bytes, /*may_choose_bfloat16=*/true);
  return WithField(
      WithReason(FailedPrecondition("no host that is here has the memory for this job: {} (see "
                                    "trainyard plan)",
                                    plan::FitSentence(fit)),
                 "JOB_DOES_NOT_FIT"),
      "train.micro_batch_size");
}

}  // namespace trainyard::coordinator

#include "coordinator/reports.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

#include "coordinator/attempts.h"

namespace trainyard::coordinator {
namespace {

constexpr size_t kSlotsMax = 1'024;
constexpr size_t kRanksMax = 10'000;
constexpr size_t kPreparedMax = 10'000;
constexpr size_t kTextMax = 4'096;
constexpr size_t kWorkersMax = 10'000;
constexpr size_t kPastEpochsMax = 16;

// ------------------------------------------------------------------------------- checks

Status CheckText(std::string_view what, std::string_view text, bool required) {
  if (required && text.empty()) return InvalidArgument("worker report: {} is missing", what);
  if (text.size() <= kTextMax) return OkStatus();
  return InvalidArgument("worker report: {} has {} bytes, the limit is {}", what, text.size(),
                         kTextMax);
}

Status CheckRank(const RankReport& rank) {
  RETURN_IF_ERROR(CheckText("ranks.job_id", rank.job.value, true));
  RETURN_IF_ERROR(CheckText("ranks.listen_address", rank.live.listen_address, false));
  if (rank.prepared.size() > kPreparedMax) {
    return InvalidArgument("worker report: {} prepared files, the limit is {}",
                           rank.prepared.size(), kPreparedMax);
  }
  for (const PreparedFile& file : rank.prepared) {
    RETURN_IF_ERROR(CheckText("ranks.prepared.name", file.name, true));
    RETURN_IF_ERROR(CheckText("ranks.prepared.key", file.key, true));
  }
  if (rank.choices.size() > kChoicesMax) {
    return InvalidArgument("worker report: {} choices, the limit is {}", rank.choices.size(),
                           kChoicesMax);
  }
  for (const Choice& choice : rank.choices) {
    RETURN_IF_ERROR(CheckText("ranks.choices.field", choice.field, true));
    RETURN_IF_ERROR(CheckText("ranks.choices.value", choice.value, true));
    RETURN_IF_ERROR(CheckText("ranks.choices.why", choice.why, false));
  }
  return OkStatus();
}

Status CheckReport(const WorkerReport& report) {
  RETURN_IF_ERROR(CheckText("worker_id", report.worker.value, true));
  RETURN_IF_ERROR(CheckText("worker_epoch", report.epoch, true));
  RETURN_IF_ERROR(CheckText("host", report.host, false));
  RETURN_IF_ERROR(CheckText("http_address", report.http_address, false));
  if (report.slots.size() > kSlotsMax || report.ranks.size() > kRanksMax) {
    return InvalidArgument("worker report: {} slots and {} ranks, the limits are {} and {}",
                           report.slots.size(), report.ranks.size(), kSlotsMax, kRanksMax);
  }
  std::set<int32_t> indexes;
  for (const Slot& slot : report.slots) {
    if (!indexes.insert(slot.index).second) {
      return InvalidArgument("worker report: slot {} is there twice", slot.index);
    }
  }
  for (const RankReport& rank : report.ranks) RETURN_IF_ERROR(CheckRank(rank));
  return OkStatus();
}

// ------------------------------------------------------------------------------- the worker

// Whether this report is news: not of an older life of the worker, not older than the last.
bool IsNews(const WorkerEntry& worker, const WorkerReport& report) {
  return report.epoch != worker.worker.epoch || report.report_number > worker.report_number;
}

std::string Refusal(Ledger& ledger, const WorkerReport& report) {
  const WorkerEntry* known = ledger.FindWorker(report.worker);
  // An older life may speak again once the newer one is silent: after a restart of the coordinator
  // it is not known which of two lives is the older.
  if (known != nullptr && ledger.IsReachable(*known) &&
      std::find(known->past_epochs.begin(), known->past_epochs.end(), report.epoch) !=
          known->past_epochs.end()) {
    return fmt::format("a newer daemon reports as {}: give each worker its own name",
                       report.worker.value);
  }
  if (known == nullptr && ledger.workers().size() >= kWorkersMax) {
    return fmt::format("the cluster has {} workers already", kWorkersMax);
  }
  if (!IsCompatible(ledger.options().version, report.version)) {
    return fmt::format("the coordinator is version {}, this worker is {}: upgrade the older one",
                       ledger.options().version, report.version);
  }
  return "";
}

// Whether slots can be given out as they are known now.
bool SameCapacity(const Worker& a, const WorkerReport& b) {
  return a.host_id == b.host_id && std::equal(a.slots.begin(), a.slots.end(), b.slots.begin(),
                                              b.slots.end(), [](const Slot& x, const Slot& y) {
                                                return x.index == y.index && x.device == y.device;
                                              });
}

void Meet(Ledger& ledger, WorkerEntry& entry, const WorkerReport& report) {
  Worker& worker = entry.worker;
  if (!entry.ever_reported || !ledger.IsReachable(entry) || !SameCapacity(worker, report)) {
    ledger.SetScheduleDue();
  }
  std::erase(entry.past_epochs, report.epoch);
  if (!worker.epoch.empty() && worker.epoch != report.epoch) {
    entry.past_epochs.push_back(worker.epoch);
    if (entry.past_epochs.size() > kPastEpochsMax) entry.past_epochs.pop_front();
  }
  if (worker.epoch != report.epoch || entry.lost) {
    const Status told = ledger.EmitClusterEvent(
        "worker:" + worker.id.value,
        Happened("WorkerJoined", 0,
                 fmt::format("{} joined with {} slots", worker.id.value, report.slots.size()),
                 {{"worker", worker.id.value}, {"host", report.host}}));
    if (!told.ok()) spdlog::warn("{}", MessageOf(told));
  }
  worker.epoch = report.epoch;
  worker.host = report.host;
  worker.host_id = report.host_id;
  worker.version = report.version;
  worker.http_address = report.http_address;
  worker.slots = report.slots;
  worker.memory_bytes = report.memory_bytes;
  worker.last_report = ledger.Wall();
  worker.reachable = true;
  entry.last_report = ledger.Steady();
  entry.ever_reported = true;
  entry.lost = false;
  entry.report_number = report.report_number;
  std::string unusable;
  if (!ledger.options().blob_probe_key.empty() &&
      report.blob_probe != ledger.options().blob_probe_digest) {
    unusable = "has not proven yet that it reaches the BlobStore";
  }
  if (entry.unusable != unusable) ledger.SetScheduleDue();
  entry.unusable = std::move(unusable);
}

// ------------------------------------------------------------------------------- its ranks

// True if the open attempt of `entry` has this rank on this worker.
bool IsPlaced(const JobEntry& entry, const RankReport& rank, const WorkerId& worker) {
  const Attempt* open = OpenAttempt(*entry.job);
  if (open == nullptr || open->number != rank.attempt) return false;
  return rank.rank >= 0 && static_cast<size_t>(rank.rank) < open->ranks.size() &&
         open->ranks[static_cast<size_t>(rank.rank)].slot.worker == worker;
}

RankLive Sane(RankLive live) {
  live.step = std::max<int64_t>(live.step, 0);
  live.beat_age = std::max(live.beat_age, absl::ZeroDuration());
  if (!std::isfinite(live.step_seconds_p99) || live.step_seconds_p99 < 0) {
    live.step_seconds_p99 = 0;
  }
  return live;
}

bool HasSpoken(const RankLive& live) {
  return live.process == "running" || live.process == "silent";
}

// What is known of a rank after this report. A daemon that was started anew has not heard yet from
// the ranks it adopted: what they said before stays and ages, since silence is no progress.
RankLive Known(const RankState& before, const RankLive& told, absl::Time now) {
  if (told.process != "spawning" || !HasSpoken(before.live)) return Sane(told);
  RankLive kept = before.live;
  kept.beat_age += now - before.last_seen;
  kept.waiting_for_coordinator = false;  // who waits answers a new daemon at once
  return kept;
}

bool IsProgress(const RankLive& before, const RankLive& after) {
  const bool same_process =
      before.process == after.process || (HasSpoken(before) && HasSpoken(after));
  return !same_process || before.phase != after.phase || before.step != after.step ||
         before.beat != after.beat;
}

std::optional<Change> Prepared(const JobEntry& entry, const RankReport& rank) {
  if (!rank.prepare_done || rank.rank != 0 || entry.job->prepare_done) return std::nullopt;
  return JobPrepared(rank.attempt, rank.prepared, rank.choices);
}

// The fence: only the open attempt's word makes a checkpoint count.
bool MayCommit(const Ledger& ledger, const JobEntry& entry, const RankReport& rank, bool placed) {
  if (!rank.checkpoint || rank.checkpoint->step <= 0) return false;
  if (ledger.options().check_fence && !placed) return false;
  const std::string key = CheckpointKey(entry.job->id, rank.checkpoint->step, rank.attempt);
  std::string_view theirs = rank.checkpoint->key;
  if (theirs.ends_with('/')) theirs.remove_suffix(1);
  const Checkpoint* newest = NewestCheckpoint(*entry.job);
  return theirs == key && (newest == nullptr || newest->step < rank.checkpoint->step) &&
         rank.checkpoint->step <= entry.job->spec->train.max_steps;
}

// The checkpoint is recorded; the oldest beyond save_total_limit leave the list.
std::vector<Change> CommitChanges(const Job& job, const RankReport& rank, absl::Time now) {
  const WrittenCheckpoint& written = *rank.checkpoint;
  Checkpoint checkpoint;
  checkpoint.job = job.id;
  checkpoint.attempt = rank.attempt;
  checkpoint.step = written.step;
  checkpoint.key = CheckpointKey(job.id, written.step, rank.attempt);
  checkpoint.manifest_digest = written.manifest_digest;
  checkpoint.size_bytes = written.size_bytes;
  checkpoint.time = now;
  std::vector<Change> changes = {CheckpointCommitted(checkpoint)};
  const int64_t limit = job.spec->checkpoint.save_total_limit;
  const int64_t too_many = static_cast<int64_t>(job.checkpoints.size()) + 1 - limit;
  for (int64_t i = 0; limit > 0 && i < too_many; ++i) {
    changes.push_back(CheckpointDeleted(
        job.checkpoints[static_cast<size_t>(i)],
        fmt::format("{} newer ones are kept (checkpoint.save_total_limit)", limit)));
  }
  return changes;
}

std::vector<Change> Exited(const JobEntry& entry, const RankReport& rank) {
  const Outcome& outcome = *rank.outcome;
  return {Happened("RankExited", rank.attempt,
                   fmt::format("{}: {} {} {}", RankName(*OpenAttempt(*entry.job), rank.rank),
                               outcome.kind, outcome.reason, outcome.message),
                   {{"rank", rank.rank},
                    {"kind", outcome.kind},
                    {"reason", outcome.reason},
                    {"exit_code", outcome.exit_code},
                    {"signal", outcome.signal}})};
}

Status TakeRank(Ledger& ledger, const WorkerEntry& worker, const RankReport& rank) {
  JobEntry* entry = ledger.Find(rank.job);
  const bool placed = entry != nullptr && IsPlaced(*entry, rank, worker.worker.id);
  if (!placed) ++ledger.counters().stale_messages;
  if (entry == nullptr) return OkStatus();
  const Actor actor = "worker:" + worker.worker.id.value;
  if (MayCommit(ledger, *entry, rank, placed)) {
    RETURN_IF_ERROR(ledger.Emit(*entry, actor, CommitChanges(*entry->job, rank, ledger.Wall())));
    ++ledger.counters().checkpoints_recorded;
  }
  if (!placed) return OkStatus();
  if (auto prepared = Prepared(*entry, rank)) {
    RETURN_IF_ERROR(ledger.Emit(*entry, actor, {*prepared}));
  }
  RankState& state = entry->ranks[static_cast<size_t>(rank.rank)];
  if (rank.checkpoint_failure && rank.checkpoint_failure->step > state.failed_checkpoint_step) {
    const CheckpointFailure& failure = *rank.checkpoint_failure;
    RETURN_IF_ERROR(ledger.Emit(*entry, actor,
                                {CheckpointFailed(rank.attempt, failure.step, failure.message)}));
    state.failed_checkpoint_step = failure.step;
  }
  if (rank.outcome && !state.outcome) {
    RETURN_IF_ERROR(ledger.Emit(*entry, actor, Exited(*entry, rank)));
    state.outcome = rank.outcome;
    state.gone = true;
  }
  if (state.gone) return OkStatus();
  // Whoever prepares, loads or connects has its time anew with every sign of progress.
  const StateDeadline* deadline = FindDeadline(entry->job->state);
  const bool starts =
      entry->job->state == JobState::kStarting || entry->job->state == JobState::kRecovering;
  RankLive live = Known(state, rank.live, ledger.Steady());
  // So has a last checkpoint while bytes of it arrive.
  const bool saves = entry->job->state == JobState::kCancelling && live.phase == "saving";
  if ((starts || saves) && IsProgress(state.live, live)) {
    entry->deadline = ledger.Steady() + deadline->within;
  }
  const std::string address = state.live.listen_address;
  state.live = std::move(live);
  if (state.live.listen_address.empty()) state.live.listen_address = address;
  state.seen = true;
  state.last_seen = ledger.Steady();
  if (address.empty() && !state.live.listen_address.empty()) {
    for (const RankPlacement& other : OpenAttempt(*entry->job)->ranks) {
      ledger.NoteDesiredChanged(other.slot.worker);
    }
  }
  return OkStatus();
}

// Ranks of open attempts that the worker should have and did not mention.
Status TakeSilence(Ledger& ledger, const WorkerEntry& worker, JobEntry& entry,
                   const std::set<std::pair<JobId, int32_t>>& mentioned) {
  const Attempt& open = *OpenAttempt(*entry.job);
  for (const RankPlacement& placement : open.ranks) {
    RankState& state = entry.ranks[static_cast<size_t>(placement.rank)];
    if (placement.slot.worker != worker.worker.id || state.gone) continue;
    if (mentioned.contains({entry.job->id, placement.rank})) continue;
    // It had run: the worker was restarted without it.
    const bool had_run = state.seen || entry.job->state == JobState::kRunning;
    // It is told to stop and was never seen: not started, once the worker has heard of it.
    const bool never_was = IsEnding(open) && ++state.reports_without > 1;
    if (!had_run && !never_was) continue;
    Outcome outcome{.kind = had_run ? "failed" : "stopped",
                    .reason = had_run ? "KILLED" : "STOPPED",
                    .message = had_run ? "its worker no longer has the process" : "never started"};
    RETURN_IF_ERROR(ledger.Emit(
        entry, "coordinator",
        {Happened("RankLost", open.number,
                  fmt::format("{}: {}", RankName(open, placement.rank), outcome.message),
                  {{"rank", placement.rank}})}));
    state.outcome = std::move(outcome);
    state.gone = true;
  }
  return OkStatus();
}

// "rank 0 and rank 2": those of the job that a daemon started anew still has.
std::string LivingRanks(const JobId& job, const WorkerReport& report) {
  std::string names;
  for (const RankReport& rank : report.ranks) {
    if (rank.job != job || rank.outcome) continue;
    names += fmt::format("{}rank {}", names.empty() ? "" : " and ", rank.rank);
  }
  return names;
}

// Whoever reads a job's history sees that its ranks went through the death of their daemon.
Status TellOfAdoption(Ledger& ledger, const WorkerEntry& worker, const WorkerReport& report) {
  for (const JobId& job : worker.jobs) {
    const std::string names = LivingRanks(job, report);
    if (names.empty()) continue;
    JobEntry& entry = *ledger.Find(job);
    RETURN_IF_ERROR(
        ledger.Emit(entry, "worker:" + report.worker.value,
                    {Happened("RanksAdopted", OpenAttempt(*entry.job)->number,
                              fmt::format("the daemon of {} started again and goes on with {}",
                                          report.worker.value, names),
                              {{"worker", report.worker.value}})}));
  }
  return OkStatus();
}

Status TakeRanks(Ledger& ledger, WorkerEntry& worker, const WorkerReport& report) {
  std::set<std::pair<JobId, int32_t>> mentioned;
  bool has_strays = false;
  for (const RankReport& rank : report.ranks) {
    const JobEntry* entry = ledger.Find(rank.job);
    if (entry != nullptr && IsPlaced(*entry, rank, report.worker)) {
      mentioned.insert({rank.job, rank.rank});
    } else {
      has_strays |= rank.live.process != "exited";
    }
    RETURN_IF_ERROR(TakeRank(ledger, worker, rank));
  }
  if (worker.has_strays != has_strays) ledger.SetScheduleDue();
  worker.has_strays = has_strays;
  const std::vector<JobId> jobs(worker.jobs.begin(), worker.jobs.end());
  for (const JobId& job : jobs) {
    JobEntry& entry = *ledger.Find(job);
    RETURN_IF_ERROR(TakeSilence(ledger, worker, entry, mentioned));
    RETURN_IF_ERROR(Advance(ledger, entry));
  }
  return OkStatus();
}

// "0.12.3" -> {0, 12}
std::optional<std::pair<int, int>> ParseVersion(std::string_view text) {
  int major = 0, minor = 0;
  const char* end = text.data() + text.size();
  const auto [dot, error] = std::from_chars(text.data(), end, major);
  if (error != std::errc() || dot == end || *dot != '.') return std::nullopt;
  if (std::from_chars(dot + 1, end, minor).ec != std::errc()) return std::nullopt;
  return std::pair(major, minor);
}

}  // namespace

bool IsCompatible(std::string_view ours, std::string_view theirs) {
  if (ours.empty()) return true;
  const auto a = ParseVersion(ours), b = ParseVersion(theirs);
  return a && b && a->first == b->first && (a->second == b->second || a->second == b->second + 1);
}

StatusOr<std::string> TakeReport(Ledger& ledger, const WorkerReport& report) {
  RETURN_IF_ERROR(CheckReport(report));
  std::string refused = Refusal(ledger, report);
  if (!refused.empty()) {
    ++ledger.counters().stale_messages;
    return refused;
  }
  WorkerEntry& worker = ledger.AddWorker(report.worker);
  if (!IsNews(worker, report)) {
    ++ledger.counters().stale_messages;
    return refused;
  }
  const bool started_again = !worker.worker.epoch.empty() && worker.worker.epoch != report.epoch;
  Meet(ledger, worker, report);
  Status taken = started_again ? TellOfAdoption(ledger, worker, report) : OkStatus();
  if (taken.ok()) taken = TakeRanks(ledger, worker, report);
  // A full store: what the report says comes again with the next one.
  if (taken.code() == StatusCode::kResourceExhausted) {
    spdlog::warn("a report of {} waits: {}", report.worker.value, MessageOf(taken));
    return refused;
  }
  RETURN_IF_ERROR(taken);
  return refused;
}

}  // namespace trainyard::coordinator

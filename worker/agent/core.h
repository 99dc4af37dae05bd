// What the agent knows, as one value without threads, files or sockets: the ranks it has, what the
// coordinator wants, and so what to do next and what to report. The daemon (agent.h) feeds it
// events and carries out its actions; the simulation does the same with fake trainers on virtual
// time.
//
// `now` is Clock::Elapsed throughout. Nothing is decided before the coordinator has spoken once in
// this life: trainers of an earlier agent keep running until then.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/link/messages.h"
#include "trainyard/v1/worker_service.pb.h"
#include "worker/agent/journal.h"
#include "worker/agent/rank_key.h"
#include "worker/agent/reconcile.h"

namespace trainyard::worker {

class Core {
 public:
  // `hello`: who this worker is; the fields of WorkerReport that do not change, and its slots.
  Core(v1::WorkerReport hello, ReconcileLimits limits)
      : hello_(std::move(hello)), limits_(limits) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // ------------------------------------------------------------------------------------- events
  // A rank of an earlier agent, found at start: alive, or ended as its record says.
  void Adopt(const RankRecord& record, absl::Duration now);
  void OnDesired(const v1::DesiredState& desired, absl::Duration now);
  void OnStarted(const RankKey& key, int64_t pid, absl::Duration now);
  void OnStatus(const RankKey& key, const link::RankStatus& status, absl::Duration now);
  // The process is dead (or never came to be: a failed start).
  void OnEnded(const RankKey& key, const RankEnd& end, absl::Duration now);
  // Everything the dead rank said is safe at the coordinator.
  void OnShipped(const RankKey& key);
  void SetBlobProbe(const std::string& digest) { hello_.set_blob_probe(digest); }
  // From now on every rank is to stop with a checkpoint, none is started, and no slot is offered.
  void Drain(absl::Duration now);

  // ---------------------------------------------------------------------------------- decisions
  // What to do now. Kill, decline and forget are noted as done; a start is answered by OnStarted or
  // OnEnded, and repeated until then.
  std::vector<Action> Decide(absl::Duration now);
  // When Decide may have something new although nothing happened.
  absl::Duration NextDeadline() const;

  // What the rank is to be told, once the coordinator has said; the newest replaces all before.
  std::optional<link::Directive> DirectiveFor(const RankKey& key) const;
  // What a rank to be started is to be started with; null when it is not wanted (any more).
  const v1::DesiredRank* Wanted(const RankKey& key) const;
  v1::WorkerReport Report(absl::Duration now) const;

  bool IsKnown(const RankKey& key) const { return ranks_.contains(key); }
  // Dead ranks of which OnShipped has not come.
  std::vector<RankKey> Unshipped() const;
  // Why this agent killed it; empty if it did not.
  std::string KilledWhy(const RankKey& key) const;
  int64_t AliveRanks() const;
  bool HasRanks() const { return !ranks_.empty(); }
  const std::string& blob_probe_key() const { return desired_.blob_probe_key(); }

 private:
  struct Rank {
    bool linked = false;  // it has said something
    int64_t pid = 0;
    link::RankStatus status;
    absl::Duration beat_grew_at;
    absl::Duration heard_at;  // when it last said anything
    std::optional<RankEnd> end;
    std::string killed_why;
    PresentRank present;
  };

  void NoteStops(absl::Duration now);
  v1::RankReport ReportOf(const RankKey& key, const Rank& rank, absl::Duration now) const;
  std::vector<PresentRank> Present() const;

  v1::WorkerReport hello_;
  const ReconcileLimits limits_;
  bool told_ = false;  // the coordinator has spoken
  bool draining_ = false;
  v1::DesiredState desired_;
  std::map<RankKey, const v1::DesiredRank*> wanted_;  // into desired_
  std::map<RankKey, Rank> ranks_;
};

// The part of the coordinator's wish that the trainer is told.
link::Directive DirectiveOf(const v1::DesiredRank& desired);

}  // namespace trainyard::worker

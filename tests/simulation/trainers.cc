#include "tests/simulation/trainers.h"

#include <fmt/format.h>

#include <algorithm>

namespace trainyard::simulation {

using coordinator::CheckpointKey;
using coordinator::DesiredRank;
using coordinator::Outcome;
using coordinator::WrittenCheckpoint;

namespace {

constexpr int64_t kStepsPerTurn = 10;
constexpr absl::Duration kPeerPatience = absl::Seconds(5);

}  // namespace

std::string RankKey::Name() const { return fmt::format("{}/{}/{}", job.value, attempt, rank); }

Trainer* Trainers::Find(const RankKey& key) {
  const auto found = all_.find(key);
  return found == all_.end() ? nullptr : &found->second;
}

std::vector<RankKey> Trainers::On(const std::string& host) const {
  std::vector<RankKey> keys;
  for (const auto& [key, trainer] : all_) {
    if (host_of_.at(key) == host) keys.push_back(key);
  }
  return keys;
}

std::vector<RankKey> Trainers::Alive() const {
  std::vector<RankKey> keys;
  for (const auto& [key, trainer] : all_) {
    if (trainer.alive()) keys.push_back(key);
  }
  return keys;
}

void Trainers::Start(const std::string& host, const DesiredRank& told) {
  const RankKey key{told.job, told.attempt, told.placement.rank};
  Trainer trainer;
  trainer.told = told;
  trainer.says.job = key.job;
  trainer.says.attempt = key.attempt;
  trainer.says.rank = key.rank;
  trainer.says.live.process = "running";
  trainer.says.live.listen_address = fmt::format("{}:{}", host, 1000 + key.rank);
  trainer.beat_at = trainer.phase_since = world_.now();
  Enter(trainer, "starting");
  all_[key] = std::move(trainer);
  host_of_[key] = host;
  world_.Note(fmt::format("{} starts {}", host, key.Name()));
}

void Trainers::Tell(const RankKey& key, const DesiredRank& told) {
  Trainer& trainer = all_.at(key);
  trainer.told = told;
  if (trainer.says.checkpoint && trainer.says.checkpoint->step <= told.recorded_step) {
    trainer.says.checkpoint.reset();
  }
}

void Trainers::Kill(const RankKey& key) { Exit(key, all_.at(key), "failed", "KILLED", 9); }

void Trainers::Stop(const RankKey& key) { Exit(key, all_.at(key), "stopped", ""); }

void Trainers::Exit(const RankKey& key, Trainer& trainer, const std::string& kind,
                    const std::string& reason, int32_t signal) {
  world_.Note(fmt::format("{} exits: {} {}", key.Name(), kind, reason));
  trainer.says.live.process = "exited";
  trainer.says.outcome = Outcome{.kind = kind, .reason = reason, .message = "", .signal = signal};
}

void Trainers::Enter(Trainer& trainer, const std::string& phase) {
  trainer.says.live.phase = phase;
  trainer.says.live.waiting_for_coordinator = phase == "waiting" || phase == "finishing";
  trainer.phase_since = world_.now();
}

Trainers::Peers Trainers::PeersOf(const RankKey& key, const Trainer& trainer) const {
  Peers peers = Peers::kReady;
  for (const auto& placement : trainer.told.all_ranks) {
    const auto found = all_.find({key.job, key.attempt, placement.rank});
    if (found == all_.end()) {
      if (peers == Peers::kReady) peers = Peers::kMissing;
      continue;
    }
    const Trainer& peer = found->second;
    const bool finished = peer.says.outcome && peer.says.outcome->kind == "succeeded";
    if (!peer.alive() && !finished) return Peers::kDead;
    const std::string& phase = peer.says.live.phase;
    const bool joined = phase == "loading" || phase == "training" || phase == "finishing";
    if (peer.stopped || !joined) peers = Peers::kMissing;
  }
  return peers;
}

void Trainers::Turn(const std::string& host) {
  for (const RankKey& key : On(host)) {
    Trainer& trainer = all_.at(key);
    if (trainer.alive() && !trainer.stopped) Turn(key, trainer);
  }
}

void Trainers::Turn(const RankKey& key, Trainer& trainer) {
  const std::string phase = trainer.says.live.phase;
  if (trainer.told.stop == coordinator::Stop::kNow) return Exit(key, trainer, "stopped", "");
  if (trainer.told.stop == coordinator::Stop::kCheckpoint && phase != "finishing") {
    return SaveAndStop(key, trainer);
  }
  if (phase == "starting" && key.rank == 0 && !trainer.told.prepare_done) {
    Enter(trainer, "preparing");
  } else if (phase == "preparing") {
    Prepare(trainer);
  } else if (phase == "starting") {
    Enter(trainer, "waiting");
  } else if (phase == "waiting") {
    if (!trainer.told.peers.empty() && trainer.told.prepare_done) Enter(trainer, "loading");
  } else if (phase == "loading") {
    Load(key, trainer);
  } else if (phase == "training") {
    Train(key, trainer);
  } else if (phase == "finishing") {
    Finish(trainer);
  }
}

void Trainers::Prepare(Trainer& trainer) {
  ++trainer.says.live.beat;
  trainer.beat_at = world_.now();
  if (trainer.says.live.beat < 3) return;
  trainer.says.prepare_done = true;
  trainer.says.prepared = {{"train-0.tok", "prepared/ab", "ab", 100}};
  Enter(trainer, "waiting");
}

void Trainers::Load(const RankKey& key, Trainer& trainer) {
  switch (PeersOf(key, trainer)) {
    case Peers::kDead:
      return Exit(key, trainer, "failed", "PEER_LOST");
    case Peers::kMissing:
      if (world_.now() - trainer.phase_since > absl::Seconds(30)) {
        Exit(key, trainer, "failed", "PEER_LOST");
      }
      return;
    case Peers::kReady:
      break;
  }
  if (trainer.told.resume && world_.chance().Happens(0.02)) {
    return Exit(key, trainer, "failed", "CHECKPOINT_DAMAGED");
  }
  trainer.says.live.step = trainer.told.resume ? trainer.told.resume->step : 0;
  trainer.says.live.collective_sequence = trainer.says.live.step;
  trainer.beat_at = world_.now();
  Enter(trainer, "training");
}

void Trainers::Train(const RankKey& key, Trainer& trainer) {
  if (trainer.failing) return Exit(key, trainer, "failed", "BAD_INPUT");
  const Peers peers = PeersOf(key, trainer);
  if (peers == Peers::kDead && world_.now() - trainer.beat_at > kPeerPatience) {
    return Exit(key, trainer, "failed", "PEER_LOST");
  }
  // It waits inside its next collective.
  if (peers != Peers::kReady) {
    trainer.says.live.collective_sequence = trainer.says.live.step + 1;
    return;
  }
  const int64_t max_steps = trainer.told.spec->train.max_steps;
  const int64_t save_steps = trainer.told.spec->checkpoint.save_steps;
  int64_t& step = trainer.says.live.step;
  step = std::min(step + kStepsPerTurn, max_steps);
  trainer.says.live.collective_sequence = step;
  ++trainer.says.live.beat;
  trainer.says.live.step_seconds_p99 = 0.1;
  trainer.beat_at = world_.now();
  if (key.rank == 0 && (step % save_steps == 0 || step == max_steps)) {
    trainer.says.checkpoint =
        WrittenCheckpoint{step, CheckpointKey(key.job, step, key.attempt), "digest", 1};
  }
  if (step == max_steps) Enter(trainer, "finishing");
}

// Rank 0 writes the step it is at and goes once that is recorded; the others go with it.
void Trainers::SaveAndStop(const RankKey& key, Trainer& trainer) {
  std::string& phase = trainer.says.live.phase;
  const int64_t step = trainer.says.live.step;
  if (phase != "training" && phase != "saving") return Exit(key, trainer, "stopped", "");
  ++trainer.says.live.beat;
  trainer.beat_at = world_.now();
  if (key.rank != 0) return;
  if (step == 0 || trainer.told.recorded_step >= step) return Exit(key, trainer, "stopped", "");
  if (phase == "saving") return;
  Enter(trainer, "saving");
  trainer.says.checkpoint =
      WrittenCheckpoint{step, CheckpointKey(key.job, step, key.attempt), "digest", 1};
}

void Trainers::Finish(Trainer& trainer) {
  if (trainer.told.recorded_step < trainer.told.spec->train.max_steps) return;
  trainer.says.live.process = "exited";
  trainer.says.outcome = Outcome{.kind = "succeeded", .reason = "", .message = ""};
}

}  // namespace trainyard::simulation

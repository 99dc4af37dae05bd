// Fake trainers: processes that prepare, find each other, step together, write checkpoints and can
// be killed, stopped or made to fail. They live on a host and survive the daemon that started them.
#pragma once

#include <absl/time/time.h>

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/state/cluster.h"
#include "tests/simulation/world.h"

namespace trainyard::simulation {

struct RankKey {
  JobId job;
  AttemptNumber attempt = 0;
  int32_t rank = 0;
  auto operator<=>(const RankKey&) const = default;
  std::string Name() const;
};

struct Trainer {
  coordinator::DesiredRank told;  // the newest directive
  coordinator::RankReport says;   // all that it has to say of itself
  absl::Duration beat_at;         // when the beat last grew
  absl::Duration phase_since;
  int64_t heard_by = 0;  // the life of its worker's daemon that last heard from it
  bool stopped = false;  // SIGSTOP
  bool failing = false;  // fails with the user's reason at its next step
  bool alive() const { return says.live.process == "running"; }
};

// All processes of all hosts. Ranks of an attempt reach each other even when their daemons reach
// nobody.
class Trainers {
 public:
  explicit Trainers(World& world) : world_(world) {}

  void Start(const std::string& host, const coordinator::DesiredRank& told);
  void Tell(const RankKey& key, const coordinator::DesiredRank& told);
  // kill -9: no last word.
  void Kill(const RankKey& key);
  // Ends as told.
  void Stop(const RankKey& key);
  void Forget(const RankKey& key) { all_.erase(key); }
  // One second passes for the living processes of a host.
  void Turn(const std::string& host);

  Trainer* Find(const RankKey& key);
  std::vector<RankKey> On(const std::string& host) const;
  std::vector<RankKey> Alive() const;

 private:
  void Turn(const RankKey& key, Trainer& trainer);
  void Prepare(Trainer& trainer);
  void Load(const RankKey& key, Trainer& trainer);
  void Train(const RankKey& key, Trainer& trainer);
  void SaveAndStop(const RankKey& key, Trainer& trainer);
  void Finish(Trainer& trainer);
  void Enter(Trainer& trainer, const std::string& phase);
  void Exit(const RankKey& key, Trainer& trainer, const std::string& kind,
            const std::string& reason, int32_t signal = 0);
  // Whether every rank of the attempt is there and works along.
  enum class Peers { kMissing, kDead, kReady };
  Peers PeersOf(const RankKey& key, const Trainer& trainer) const;

  World& world_;
  std::map<RankKey, Trainer> all_;
  std::map<RankKey, std::string> host_of_;
};

}  // namespace trainyard::simulation

// The whole cluster in one process, from a seed: the real coordinator with its real scheduler and
// store, on virtual time; a disk that lags and forgets what was not committed; a network that
// delays, loses, repeats and replays; workers, trainers and clients that do as the real ones, and
// are crashed, stopped and cut off.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/coordinator.h"
#include "coordinator/store/store.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/trainers.h"
#include "tests/simulation/world.h"

struct sqlite3;

namespace trainyard::simulation {

struct SimulationOptions {
  uint64_t seed = 1;
  int workers = 3;
  bool check_fence = true;
  absl::Duration faults_end = absl::Seconds(120);
  // From there until every job must have reached a final state.
  absl::Duration patience = absl::Minutes(40);
};

struct SimulationResult {
  Status status;  // which invariant broke, with the seed and the last messages
  int64_t happened = 0;
  int64_t events = 0;  // in the store
  int64_t attempts = 0;
  int64_t jobs = 0;
  int64_t succeeded = 0;
  int64_t last_checkpoints = 0;  // recorded while their jobs were being cancelled
  uint64_t digest = 0;
  std::map<std::string, int64_t> faults;
};

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation();
  SimulationResult Run();

 private:
  struct WorkerState {
    std::string name;
    bool up = true;
    int64_t life = 0;  // of the daemon; messages to an earlier one are lost with its connection
    absl::Duration started;  // this life
    int64_t reports = 0;
    int64_t newest_answer = 0;
    absl::Duration cut_off_until;
  };
  struct Client {
    std::string request;
    JobSpec spec;
    JobId job;  // once acknowledged
  };

  // Coordinator and its disk.
  void StartCoordinator();
  void CrashCoordinator();
  void ScheduleCommit();
  // Runs `answer` once the sequence is durable, unless the coordinator died before.
  void WhenDurable(int64_t sequence, std::function<void()> answer);
  void TickCoordinator();

  // Network.
  void Send(WorkerState* worker, std::string what, std::function<void()> deliver);

  // Workers.
  void ReportLoop(WorkerState& worker, int64_t life);
  coordinator::RankReport ReportOf(const WorkerState& worker, const RankKey& key);
  void Deliver(WorkerState& worker, int64_t life, const coordinator::WorkerReport& report);
  void Reconcile(WorkerState& worker, const coordinator::DesiredState& desired);
  void TurnLoop(WorkerState& worker);
  void CrashWorker(WorkerState& worker, bool with_host);
  void StartWorker(WorkerState& worker);

  // Clients.
  void SubmitLoop(Client& client);
  void AskCancel(Client& client, bool now);
  void AskRetry(Client& client);

  // Faults.
  void FaultLoop();
  void OneFault();
  bool FaultsAreOver() const { return world_.now() >= options_.faults_end; }

  void Check(const Status& status);
  void ExplainUnfinished();
  bool IsDone() const;

  const SimulationOptions options_;
  World world_;
  Trainers trainers_;
  Checker checker_;
  Status broken_;

  std::string database_;
  sqlite3* keeper_ = nullptr;  // keeps the in-memory database while no store is open
  int64_t coordinator_life_ = 0;
  std::unique_ptr<coordinator::Store> store_;
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  bool commit_scheduled_ = false;
  absl::Duration slow_disk_until_;
  absl::Duration bad_network_until_;

  std::vector<std::unique_ptr<WorkerState>> workers_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::map<std::string, int64_t> faults_;
};

}  // namespace trainyard::simulation

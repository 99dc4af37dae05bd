// A small cluster for tests of the coordinator: workers that do what they are told, and processes
// that say what the test makes them say. Time moves only when the test says so.
#pragma once

#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "common/clock.h"
#include "coordinator/coordinator.h"
#include "coordinator/store/store.h"

namespace trainyard::coordinator {

// A spec that passes validation: 400 steps, a checkpoint every 100, as many ranks as wanted.
JobSpec SpecOf(const std::string& name, int64_t ranks);

class Yard {
 public:
  explicit Yard(CoordinatorOptions options = {});

  // ---------------------------------------------------------------------- what the test arranges
  Yard& AddWorker(const std::string& name, int slots = 1);
  JobId Submit(const std::string& name, int64_t ranks = 1);
  JobId Submit(JobSpec spec);
  // The process of a rank of the job's newest attempt: what it says with the next report.
  RankReport& rank(const JobId& job, int32_t rank);
  bool has_process(const JobId& job, AttemptNumber attempt, int32_t rank) const;
  void Silence(const std::string& worker) { workers_.at(worker).silent = true; }
  void Unsilence(const std::string& worker) { workers_.at(worker).silent = false; }
  // The daemon starts again, with its processes or (after a reboot) without.
  void RestartWorker(const std::string& worker, bool with_processes);
  // Forgets everything that is not durable.
  void RestartCoordinator();

  // ---------------------------------------------------------------------------- what then happens
  // Every second each worker does what it was last told and reports; the coordinator ticks.
  void Run(absl::Duration time);
  void Report(const std::string& worker);

  // -------------------------------------------------------------------------- shorthand for plots
  // Runs until every rank trains at `step`.
  void Train(const JobId& job, int64_t step);
  // Rank 0 says that it has written a checkpoint; a second passes.
  void Write(const JobId& job, int64_t step);
  // Every rank finishes after a checkpoint of the last step.
  void Finish(const JobId& job);
  void Fail(const JobId& job, int32_t rank, const std::string& reason, int32_t signal = 0);

  // ------------------------------------------------------------------------------ what is then so
  const Job& job(const JobId& id);
  JobState state(const JobId& id) { return job(id).state; }
  std::vector<std::string> EventTypes(const JobId& id);
  std::string Explain(const JobId& id);  // sentence and evidence, a line each
  Coordinator& coordinator() { return *coordinator_; }
  Store& store() { return *store_; }
  SimulatedClock& clock() { return clock_; }

 private:
  using Key = std::tuple<JobId, AttemptNumber, int32_t>;
  struct HostedWorker {
    WorkerReport hello;
    std::map<Key, RankReport> processes;
    bool silent = false;
  };
  void Reconcile(HostedWorker& worker, const DesiredState& desired);

  const CoordinatorOptions options_;
  SimulatedClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  std::unique_ptr<Store> store_;
  std::unique_ptr<Coordinator> coordinator_;
  std::map<std::string, HostedWorker> workers_;
  std::shared_ptr<const Job> last_;
  int requests_ = 0;
};

}  // namespace trainyard::coordinator

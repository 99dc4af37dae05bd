// Stands in for agents and coordinator of one attempt: starts the ranks as an agent does, hears
// what they say, and tells them what the test wants. By default it spreads addresses and prepared
// files and records checkpoints at once, as the real ones would.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/job_spec/job_spec.h"
#include "common/link/exit_record.h"
#include "common/link/link_client.h"
#include "tests/support/process.h"

namespace trainyard::worker {

// What the ranks of an attempt prove to each other.
inline constexpr char kAttemptSecret[] = "attempt secret of this test";

struct AttemptOptions {
  JobSpec spec;                  // resolved, data by digest
  std::filesystem::path folder;  // sockets, work folders
  std::filesystem::path blob_root;
  AttemptNumber attempt = 1;
  int ranks = 1;
  std::optional<link::ResumePoint> resume;
  bool record_checkpoints = true;
  double agent_timeout_seconds = 60;
};

class ScriptedAgent {
 public:
  explicit ScriptedAgent(AttemptOptions options);
  ~ScriptedAgent();

  Status Start();
  Process& process(int rank) { return processes_[static_cast<size_t>(rank)]; }
  // What the rank last said.
  link::RankStatus status(int rank) const;
  // Waits until the rank has said something of which `wanted` holds.
  bool Await(int rank, const std::function<bool(const link::RankStatus&)>& wanted) const;
  // Waits until the rank has said something so many times more.
  bool AwaitWords(int rank, int more) const;
  // Tells all ranks (or one) something more.
  void Tell(const std::function<void(link::Directive&)>& change, int only_rank = -1);
  // The agent of a rank dies.
  void HangUp(int rank);
  // Checkpoints are recorded from now on, the newest included.
  void RecordCheckpoints();

  // The points of a metric that rank 0 has sent, by step.
  std::map<int64_t, double> Metric(const std::string& name) const;
  std::vector<std::string> EventTypes() const;
  std::optional<link::WrittenCheckpoint> newest_checkpoint() const;
  // What the rank left when it ended.
  StatusOr<link::ExitRecord> Record(int rank) const;

 private:
  std::filesystem::path Folder(int rank) const;
  Status StartRank(int rank);
  void Hear(int rank, const link::RankStatus& status);
  void Keep(int rank, uint64_t sequence, const link::Telemetry& message);
  // Sends each rank its directive.
  void Send() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const AttemptOptions options_;
  const SystemClock clock_;
  std::vector<Process> processes_;

  mutable absl::Mutex mu_;
  std::vector<std::unique_ptr<link::LinkClient>> clients_ ABSL_GUARDED_BY(mu_);
  std::vector<link::RankStatus> statuses_ ABSL_GUARDED_BY(mu_);
  std::map<int, int> words_ ABSL_GUARDED_BY(mu_);  // how often each rank has said something
  std::vector<link::Directive> directives_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::map<int64_t, double>> metrics_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> event_types_ ABSL_GUARDED_BY(mu_);
  std::optional<link::WrittenCheckpoint> newest_ ABSL_GUARDED_BY(mu_);
  bool record_ ABSL_GUARDED_BY(mu_);
};

}  // namespace trainyard::worker

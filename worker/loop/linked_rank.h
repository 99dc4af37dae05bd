// The link of a rank that a worker's agent started: what the loop says becomes the rank's status
// and telemetry on a link::LinkServer, what the agent says becomes directives.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <deque>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/link/link_server.h"
#include "worker/loop/rank_link.h"

namespace trainyard::worker {

class LinkedRank final : public RankLink {
 public:
  // Server and clock outlive this object. `agent_timeout`: how long nobody may dial before the rank
  // counts as forgotten.
  LinkedRank(link::LinkServer* server, const Clock* clock, absl::Duration agent_timeout);

  link::Directive directive() const override;
  link::StopMode stop() const override;
  StatusOr<link::Directive> WaitUntil(
      std::string_view what, const std::function<bool(const link::Directive&)>& ready) override;
  bool Pause(absl::Duration pause) override;
  bool agent_gone() const override;

  void SetPhase(link::Phase phase) override;
  void Doing(const std::string& what) override;
  void Beat(int64_t step, int64_t collective_sequence) override;
  void StepTook(absl::Duration time) override;
  void ReportListenAddress(const std::string& address) override;
  void ReportPrepared(const std::vector<link::PreparedFile>& files,
                      const std::vector<Choice>& choices) override;
  void ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) override;
  void ReportCheckpointFailure(const link::CheckpointFailure& failure) override;
  void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) override;
  void Event(std::string_view type, const std::string& message) override;

  // For a thread of its own to call ten times a second: says what the loop could not, being inside
  // a collective or having beaten too often, and once a second that this process runs at all.
  void Pulse(int64_t collective_sequence);
  // The last word. Returns the status it ends with.
  link::RankStatus End(const link::Outcome& outcome);

 private:
  // Changes the status and says it.
  template <class Change>
  void Say(const Change& change);
  void SayLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeatLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  link::LinkServer* const server_;
  const Clock* const clock_;
  const absl::Duration agent_timeout_;

  absl::Mutex mu_;
  link::RankStatus status_ ABSL_GUARDED_BY(mu_);
  absl::Duration said_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  bool unsaid_ ABSL_GUARDED_BY(mu_) = false;              // something changed since
  std::deque<double> step_seconds_ ABSL_GUARDED_BY(mu_);  // the newest kStepsKept
};

}  // namespace trainyard::worker

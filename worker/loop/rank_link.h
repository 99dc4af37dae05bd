// What a rank needs of the world outside its process: what is wanted of it, and somebody who
// listens. Two implementations: LinkedRank (an agent dials in; linked_rank.h) and AloneRank (by
// hand, nobody else; alone_rank.h).
//
// Everything said here is a state or a stream: repeated or late words do no harm. All members may
// be called from any thread.
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/link/messages.h"
#include "common/status.h"

namespace trainyard::worker {

class RankLink {
 public:
  virtual ~RankLink() = default;

  // What the coordinator wants, as last heard; a default one while nobody has been heard.
  virtual link::Directive directive() const = 0;
  virtual link::StopMode stop() const = 0;

  // Blocks until a directive has been heard of which `ready` holds, and returns it. There is no
  // deadline, since only the coordinator knows how long; meanwhile the rank says that it waits, so
  // that nobody takes it for hung. Cancelled, reason STOPPED, when told to stop now;
  // Unavailable, reason AGENT_LOST, when nobody has dialled for too long. `what` is for messages:
  // "the checkpoint of step 400 is recorded".
  virtual StatusOr<link::Directive> WaitUntil(
      std::string_view what, const std::function<bool(const link::Directive&)>& ready) = 0;
  // Lets `pause` pass; false, early, when told to stop now or when nobody listens any more.
  virtual bool Pause(absl::Duration pause) = 0;
  // Nobody has dialled for longer than allowed: the rank should save what it has and go.
  virtual bool agent_gone() const = 0;

  virtual void SetPhase(link::Phase phase) = 0;
  // How far a long piece of work inside the phase is, in words that stand until the next phase:
  // "reading weights, 120 of 538 MB". Beats too.
  virtual void Doing(const std::string& what) = 0;
  // One micro-batch, or as much work again, is done: the rank lives. `step`: steps done;
  // `collective_sequence`: calls begun.
  virtual void Beat(int64_t step, int64_t collective_sequence) = 0;
  // A step took this long; makes the 99th percentile from which step deadlines come.
  virtual void StepTook(absl::Duration time) = 0;

  virtual void ReportListenAddress(const std::string& address) = 0;
  // With what was chosen for the whole job.
  virtual void ReportPrepared(const std::vector<link::PreparedFile>& files,
                              const std::vector<Choice>& choices) = 0;
  virtual void ReportCheckpoint(const link::WrittenCheckpoint& checkpoint) = 0;
  virtual void ReportCheckpointFailure(const link::CheckpointFailure& failure) = 0;

  // Telemetry. Names as in docs: {"loss", 2.1}, {"step_phase_seconds/data", 0.01}.
  virtual void Metrics(int64_t step, const std::vector<std::pair<std::string, double>>& values) = 0;
  // Something worth a line in the job's history. `type` in UPPER_SNAKE.
  virtual void Event(std::string_view type, const std::string& message) = 0;
};

}  // namespace trainyard::worker

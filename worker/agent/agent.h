// The daemon of one host, without its flags: keeps the session to the coordinator, carries out what
// it wants, watches the ranks' processes and reports at once what changed.
//
// Losing the coordinator never touches a trainer; destroying the agent does not either: the next
// agent on the same home adopts them.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>
#include <grpcpp/channel.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/status.h"
#include "common/thread.h"
#include "worker/agent/core.h"
#include "worker/agent/ranks.h"
#include "worker/agent/session.h"
#include "worker/agent/telemetry.h"

namespace trainyard::worker {

struct AgentOptions {
  std::string worker_id;
  std::string http_address;
  RanksOptions ranks;
  ReconcileLimits limits;
  TelemetryBounds telemetry;
  std::function<std::string()> token;  // asked for whenever a stream is dialled
  // Between reports when nothing changed. Shorter sees a dead worker sooner; costs a message each.
  absl::Duration report_period = absl::Seconds(1);
  // Changes within this time leave in one report. Longer costs reaction time.
  absl::Duration report_gap = absl::Milliseconds(50);
};

enum class AgentEnd {
  kRefused,  // the coordinator does not let this worker join
  kDenied,   // nor this token
  kDrained,  // Drain or KillAll is done
  kBroken,   // this host failed the agent (poll, descriptors)
};

struct AgentNumbers {
  bool connected = false;
  absl::Duration since_heard;  // from the coordinator; since the start if never
  int64_t ranks_alive = 0;
  int64_t ranks_started = 0, ranks_ended = 0;
  int64_t log_bytes_dropped = 0;
  int64_t telemetry_acknowledged = 0;
};

class Agent {
 public:
  // Adopts what an earlier agent left and begins. `blobs` and `clock` outlive the agent.
  static StatusOr<std::unique_ptr<Agent>> Start(AgentOptions options,
                                                std::shared_ptr<grpc::Channel> channel,
                                                BlobStore& blobs, const Clock& clock);
  ~Agent();  // leaves the trainers running

  // Every rank writes a checkpoint and stops; then the agent is at its end.
  void Drain();
  // Every rank is killed; then the agent is at its end.
  void KillAll();

  struct End {
    AgentEnd how;
    std::string why;
  };
  // Waits until the agent is at its end, or the time is over (nothing).
  std::optional<End> WaitFor(absl::Duration timeout) const;

  AgentNumbers numbers() const;

 private:
  // What other threads have for the agent's.
  struct Inbox {
    std::optional<v1::DesiredState> desired;  // the newest
    std::string blob_probe;
    std::map<RankKey, link::RankStatus> statuses;  // the newest of each
    std::vector<std::tuple<RankKey, uint64_t, link::Telemetry>> words;
    std::optional<Status> lost;
    bool drain = false, kill_all = false;
  };

  Agent(AgentOptions options, BlobStore& blobs, const Clock& clock);

  // Puts something into the inbox and wakes the agent's thread.
  void Post(const std::function<void(Inbox&)>& put);

  // The agent's thread.
  void Run();
  void WaitForEvents();
  void TakeInbox();
  void TakeDesired(const v1::DesiredState& desired, const std::string& blob_probe);
  void BuryDead();
  void Act();
  void StartRank(const Action& action);
  void SendReport();
  void NoteNumbers();
  void EndIfDone();
  void EndWith(AgentEnd how, std::string why);

  const AgentOptions options_;
  const Clock& clock_;
  UniqueFd wake_;  // eventfd

  // The agent's thread only.
  Core core_;
  std::unique_ptr<Telemetry> telemetry_;  // before ranks_, which use it
  std::unique_ptr<Ranks> ranks_;
  std::unique_ptr<Session> session_;
  std::string reported_;  // what the last report said, but for the fields that always change
  absl::Duration reported_at_ = -absl::InfiniteDuration();
  absl::Duration heard_at_;
  absl::Duration end_by_ = absl::InfiniteDuration();  // of shipping the last words when draining
  bool was_connected_ = false, draining_ = false, killing_ = false;
  int64_t started_ = 0, ended_ = 0;

  mutable absl::Mutex mu_;
  Inbox inbox_ ABSL_GUARDED_BY(mu_);
  AgentNumbers numbers_ ABSL_GUARDED_BY(mu_);
  std::optional<End> end_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;

  Thread thread_;  // last: it uses the rest
};

}  // namespace trainyard::worker

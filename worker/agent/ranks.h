// The ranks of this host as the operating system has them: processes, folders, sockets, logs.
// Carries out what Core decides. Used by the agent's thread only; what comes from links goes to
// their events.
#pragma once

#include <absl/time/time.h>

#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/link/messages.h"
#include "common/status.h"
#include "trainyard/v1/worker_service.pb.h"
#include "worker/agent/journal.h"
#include "worker/agent/rank_end.h"
#include "worker/agent/rank_key.h"
#include "worker/agent/rank_link.h"
#include "worker/agent/rank_process.h"
#include "worker/agent/slots.h"
#include "worker/agent/telemetry.h"

namespace trainyard::worker {

struct RanksOptions {
  std::filesystem::path home;
  std::filesystem::path trainer;    // program
  std::filesystem::path blob_root;  // of the BlobStore
  std::string bind_address;         // for ranks to reach each other
  std::vector<LocalSlot> slots;
};

class Ranks {
 public:
  // `telemetry` and `clock` outlive this.
  static StatusOr<std::unique_ptr<Ranks>> Open(const RanksOptions& options, Telemetry& telemetry,
                                               RankLinkEvents link_events, const Clock& clock);

  // What an earlier agent left: live processes are watched and dialled again; for dead ones `ended`
  // is set. Folders that could not be read are moved aside with a line in the log.
  StatusOr<std::vector<RankRecord>> AdoptAll();

  // Starts the process; its pid. On failure nothing is left.
  StatusOr<int64_t> Start(const v1::DesiredRank& desired);
  // Tells the rank, unless it was told the same before.
  void Direct(const RankKey& key, const link::Directive& directive);
  void Kill(const RankKey& key, const std::string& why);
  // Takes in the last words that a dead rank left in its socket; they have come to the link's
  // events when this returns.
  void CloseLink(const RankKey& key);
  // After its pidfd became readable: how it ended, which is written to the journal. The last state
  // of its exit record has come to the links' events when this returns.
  RankEnd Bury(const RankKey& key, const std::string& killed_why);
  // The rank's folder and everything else of it goes.
  void Forget(const RankKey& key);

  // Takes what a rank said for the coordinator.
  void Say(const RankKey& key, uint64_t sequence, link::Telemetry words);
  // Moves what was said on as far as there is room; acknowledges, journals and gives back disk
  // blocks for what is durable at the coordinator. Call it often.
  void Ship(absl::Duration now);
  // A dead rank of which nothing is left to ship.
  bool IsShipped(const RankKey& key);

  // Descriptors of live processes, readable once they are dead.
  std::vector<std::pair<RankKey, int>> Watched() const;
  // Remembers how many processes the kernel has killed for want of memory; call it often.
  void NoteOutOfMemoryKills(absl::Duration now);

 private:
  struct Said {
    uint64_t sequence;
    v1::TelemetryRequest item;
  };
  struct Rank {
    RankRecord record;
    UniqueFd pidfd;
    std::unique_ptr<RankLink> link;
    std::optional<link::Directive> told;
    std::deque<Said> said;    // not yet in the telemetry queue; bounded by the trainer's own buffer
    uint64_t said_up_to = 0;  // the highest sequence ever put into `said`
    uint64_t acknowledged = 0;  // told to the trainer
    absl::Duration journaled_at = absl::ZeroDuration();
  };

  Ranks(RanksOptions options, Journal journal, Telemetry& telemetry, RankLinkEvents link_events,
        const Clock& clock)
      : options_(std::move(options)),
        journal_(std::move(journal)),
        telemetry_(telemetry),
        link_events_(std::move(link_events)),
        clock_(clock) {}

  StatusOr<std::string> SocketFor(const RankKey& key);
  Status WriteSpec(const v1::DesiredRank& desired, const RankRecord& record);
  StatusOr<SpawnRequest> RequestFor(const v1::DesiredRank& desired, const RankRecord& record);
  void Dial(Rank& rank);
  void ReadRest(Rank& rank);
  void TakeProgress(Rank& rank, absl::Duration now);
  void RemoveFiles(const RankRecord& record);

  const RanksOptions options_;
  Journal journal_;
  Telemetry& telemetry_;
  const RankLinkEvents link_events_;
  const Clock& clock_;
  const std::string agent_ = RandomHex(16);
  int64_t out_of_memory_kills_ = OutOfMemoryKills();           // when last noted
  int64_t out_of_memory_kills_before_ = out_of_memory_kills_;  // and the time before
  absl::Duration out_of_memory_noted_at_ = -absl::InfiniteDuration();
  std::map<RankKey, Rank> ranks_;
};

}  // namespace trainyard::worker

// What the ranks have said and the coordinator does not yet hold durably: log bytes read from their
// files, points and events from their links. Numbers every item, keeps it until it is acknowledged,
// and offers it again on a new stream. Bounded: log bytes that find no room stay in their file,
// points and events stay with their trainer (Offer says no).
//
// Not thread-safe; Telemetry guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/status.h"
#include "trainyard/v1/worker_service.pb.h"
#include "worker/agent/log_tail.h"
#include "worker/agent/rank_key.h"

namespace trainyard::worker {

struct TelemetryBounds {
  int64_t log_piece_bytes = 64 << 10;
  int64_t log_bytes_per_rank = 1 << 20;  // read and not acknowledged
  int64_t item_bytes = 8 << 20;          // points and events of all ranks, likewise
  int64_t log_retained_bytes =
      64 << 20;  // of one rank, waiting on disk; beyond it bytes are dropped
};

class TelemetryQueue {
 public:
  TelemetryQueue(std::string worker_id, TelemetryBounds bounds)
      : worker_id_(std::move(worker_id)), bounds_(bounds) {}

  // Begins to follow a rank's log at `acknowledged`, as its journal says.
  void Add(const RankKey& key, const std::filesystem::path& log, const LogPlace& acknowledged);
  // Forgets the rank and everything of it that is not acknowledged.
  void Remove(const RankKey& key);

  // Reads what the logs hold and there is room for, and bounds the rest on disk. True if there is
  // something new to send. An unreadable log is an error, after all others were read.
  StatusOr<bool> ReadLogs();

  // Takes points or an event of a rank, which carried `link_sequence` on its link (0: none). False
  // when there is no room now, or the rank is not known: offer it again later.
  bool Offer(const RankKey& key, v1::TelemetryRequest item, int64_t link_sequence);

  // The next message of the stream; nothing when all was sent. StreamBegan comes before the first
  // call for each new stream and makes everything unacknowledged come again.
  void StreamBegan();
  std::optional<v1::TelemetryRequest> Next();
  void OnResponse(const v1::TelemetryResponse& response);
  // The stream is over. After InvalidArgument the next ones carry one item at a time, until the one
  // that the coordinator will not have is found and dropped, so that it does not hold up the rest.
  void StreamEnded(const Status& status);

  struct Progress {
    LogPlace log;               // acknowledged
    int64_t link_sequence = 0;  // acknowledged, of what was offered in this agent's life
    bool idle = false;          // nothing read or offered waits for acknowledgement, log at its end
  };
  std::optional<Progress> ProgressOf(const RankKey& key);
  // The journal holds `place`: the log's blocks before it may go back to the disk.
  Status Release(const RankKey& key, const LogPlace& place);

  int64_t dropped_log_bytes() const { return dropped_log_bytes_; }
  int64_t acknowledged_items() const { return acknowledged_items_; }

 private:
  struct Item {
    int64_t sequence = 0;
    RankKey key;
    v1::TelemetryRequest request;
    int64_t bytes = 0;
    int64_t link_sequence = 0;          // points and events
    std::optional<LogPlace> log_begin;  // log pieces
    LogPlace log_end;
  };
  struct Rank {
    LogTail tail;
    LogPlace log_acknowledged;
    int64_t log_bytes = 0;  // in items_
    int64_t items = 0;      // in items_
    int64_t link_sequence = 0;
    // Answers to what was sent before the last rewind say nothing new.
    int64_t ignore_positions_until = 0;
  };

  void Push(Rank& rank, Item item);
  void Drop(const Item& item);  // takes the item's share from the counts
  StatusOr<bool> ReadLog(const RankKey& key, Rank& rank);
  void GoBack(const RankKey& key, Rank& rank, int64_t stored);

  const std::string worker_id_;
  const TelemetryBounds bounds_;
  std::map<RankKey, Rank> ranks_;
  std::deque<Item> items_;  // by sequence; not acknowledged
  int64_t last_sequence_ = 0;
  int64_t sent_ = 0;  // the highest sequence sent on this stream
  bool first_of_stream_ = true;
  int64_t one_by_one_until_ = 0;  // up to this sequence; 0: at full speed
  int64_t item_bytes_ = 0;
  int64_t dropped_log_bytes_ = 0;
  int64_t acknowledged_items_ = 0;
};

}  // namespace trainyard::worker

#include "worker/agent/telemetry_queue.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace trainyard::worker {

void TelemetryQueue::Add(const RankKey& key, const std::filesystem::path& log,
                         const LogPlace& acknowledged) {
  ranks_.insert_or_assign(key, Rank{.tail = LogTail(log, acknowledged, bounds_.log_retained_bytes),
                                    .log_acknowledged = acknowledged});
}

void TelemetryQueue::Remove(const RankKey& key) {
  std::erase_if(items_, [&](const Item& item) {
    if (item.key != key) return false;
    Drop(item);
    return true;
  });
  ranks_.erase(key);
}

void TelemetryQueue::Push(Rank& rank, Item item) {
  item.sequence = ++last_sequence_;
  item.request.set_sequence(item.sequence);
  ++rank.items;
  (item.log_begin ? rank.log_bytes : item_bytes_) += item.bytes;
  items_.push_back(std::move(item));
}

void TelemetryQueue::Drop(const Item& item) {
  Rank& rank = ranks_.at(item.key);
  --rank.items;
  (item.log_begin ? rank.log_bytes : item_bytes_) -= item.bytes;
}

StatusOr<bool> TelemetryQueue::ReadLogs() {
  bool any = false;
  Status first_error;
  for (auto& [key, rank] : ranks_) {
    const StatusOr<bool> read = ReadLog(key, rank);
    if (read.ok())
      any |= *read;
    else if (first_error.ok())
      first_error = read.status();
  }
  RETURN_IF_ERROR(first_error);
  return any;
}

StatusOr<bool> TelemetryQueue::ReadLog(const RankKey& key, Rank& rank) {
  bool any = false;
  while (rank.log_bytes < bounds_.log_bytes_per_rank) {
    const LogPlace begin = rank.tail.next();
    ASSIGN_OR_RETURN(std::optional<LogPiece> piece, rank.tail.Read(bounds_.log_piece_bytes));
    if (!piece) break;
    Item item;
    item.key = key;
    item.log_begin = begin;
    item.log_end = piece->end;
    item.bytes = static_cast<int64_t>(piece->bytes.size());
    v1::LogChunk& chunk = *item.request.mutable_log();
    chunk.set_job_id(key.job.value);
    chunk.set_attempt(key.attempt);
    chunk.set_rank(key.rank);
    chunk.set_offset(piece->stored_offset);
    chunk.set_data(std::move(piece->bytes));
    Push(rank, std::move(item));
    any = true;
  }
  ASSIGN_OR_RETURN(const int64_t dropped, rank.tail.Bound());
  dropped_log_bytes_ += dropped;
  return any;
}

bool TelemetryQueue::Offer(const RankKey& key, v1::TelemetryRequest request,
                           int64_t link_sequence) {
  const auto rank = ranks_.find(key);
  const auto bytes = static_cast<int64_t>(request.ByteSizeLong());
  if (rank == ranks_.end() || item_bytes_ + bytes > bounds_.item_bytes) return false;
  Item item;
  item.key = key;
  item.request = std::move(request);
  item.bytes = bytes;
  item.link_sequence = link_sequence;
  Push(rank->second, std::move(item));
  return true;
}

void TelemetryQueue::StreamBegan() {
  sent_ = 0;
  first_of_stream_ = true;
  for (auto& [key, rank] : ranks_) rank.ignore_positions_until = 0;
}

std::optional<v1::TelemetryRequest> TelemetryQueue::Next() {
  const auto next =
      std::upper_bound(items_.begin(), items_.end(), sent_,
                       [](int64_t sequence, const Item& item) { return sequence < item.sequence; });
  if (next == items_.end()) return std::nullopt;
  if (next->sequence <= one_by_one_until_ && next != items_.begin()) return std::nullopt;
  sent_ = next->sequence;
  v1::TelemetryRequest request = next->request;
  if (std::exchange(first_of_stream_, false)) request.set_worker_id(worker_id_);
  return request;
}

void TelemetryQueue::StreamEnded(const Status& status) {
  if (!absl::IsInvalidArgument(status) || items_.empty()) return;
  const Item& first = items_.front();
  const bool was_alone = sent_ == first.sequence;
  one_by_one_until_ = std::max(one_by_one_until_, sent_);
  if (!was_alone) return;
  spdlog::error("{}: the coordinator refuses something it said, which is dropped: {}",
                NameOf(first.key), MessageOf(status));
  Rank& rank = ranks_.at(first.key);
  if (first.log_begin) rank.log_acknowledged = first.log_end;
  rank.link_sequence = std::max(rank.link_sequence, first.link_sequence);
  Drop(first);
  items_.pop_front();
}

void TelemetryQueue::OnResponse(const v1::TelemetryResponse& response) {
  // Positions first: a chunk that was not stored must not count as acknowledged.
  for (const v1::LogPosition& position : response.positions()) {
    const RankKey key{JobId{position.job_id()}, position.attempt(), position.rank()};
    const auto rank = ranks_.find(key);
    if (rank == ranks_.end() || position.offset() < 0) continue;
    if (response.acknowledged() < rank->second.ignore_positions_until) continue;
    GoBack(key, rank->second, position.offset());
  }
  while (!items_.empty() && items_.front().sequence <= response.acknowledged()) {
    const Item& item = items_.front();
    Rank& rank = ranks_.at(item.key);
    if (item.log_begin) rank.log_acknowledged = item.log_end;
    rank.link_sequence = std::max(rank.link_sequence, item.link_sequence);
    Drop(item);
    items_.pop_front();
    ++acknowledged_items_;
  }
}

void TelemetryQueue::GoBack(const RankKey& key, Rank& rank, int64_t stored) {
  if (stored == rank.tail.next().stored) return;
  if (stored > rank.tail.next().stored) {
    // It holds more than we read: it skips what it has of the next chunks.
    spdlog::warn("{}: the coordinator holds {} bytes of its log, more than the {} read so far",
                 NameOf(key), stored, rank.tail.next().stored);
    return;
  }
  // Where in the file is that? Items know their places; before them only the acknowledged one is
  // known.
  LogPlace place = rank.log_acknowledged;
  if (stored < place.stored)
    spdlog::warn("{}: the coordinator lost {} acknowledged bytes of its log; going on without them",
                 NameOf(key), place.stored - stored);
  for (const Item& item : items_) {
    if (item.key != key || !item.log_begin || item.log_begin->stored > stored) continue;
    const bool stands_for_dropped_bytes =
        item.log_end.file - item.log_begin->file != item.log_end.stored - item.log_begin->stored;
    place = *item.log_begin;
    if (stands_for_dropped_bytes && stored > place.stored) place = {stored, item.log_end.file};
  }
  if (stored > place.stored) place.file += stored - place.stored;
  place.stored = stored;
  std::erase_if(items_, [&](const Item& item) {
    if (item.key != key || !item.log_begin || item.log_end.stored <= stored) return false;
    Drop(item);
    return true;
  });
  rank.tail.Seek(place);
  rank.log_acknowledged.stored = std::min(rank.log_acknowledged.stored, stored);
  rank.ignore_positions_until = sent_;
}

std::optional<TelemetryQueue::Progress> TelemetryQueue::ProgressOf(const RankKey& key) {
  const auto at = ranks_.find(key);
  if (at == ranks_.end()) return std::nullopt;
  Rank& rank = at->second;
  return Progress{rank.log_acknowledged, rank.link_sequence,
                  rank.items == 0 && rank.tail.AtEnd().value_or(true)};
}

Status TelemetryQueue::Release(const RankKey& key, const LogPlace& place) {
  const auto rank = ranks_.find(key);
  if (rank == ranks_.end()) return OkStatus();
  return rank->second.tail.Release(place);
}

}  // namespace trainyard::worker

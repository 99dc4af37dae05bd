#include "coordinator/service/log_stream.h"

#include <algorithm>
#include <charconv>

#include "common/wire/values.h"

namespace trainyard::coordinator {
namespace {

constexpr int64_t kChunkBytes = 256 << 10;
constexpr size_t kMaxCursor = 256 << 10;
// A rank's last words may still be on their way when the job ends.
constexpr absl::Duration kQuietAfterEnd = absl::Seconds(1);

}  // namespace

std::string CursorOf(const LogPositions& positions) {
  std::string cursor;
  for (const auto& [log, offset] : positions)
    cursor += fmt::format("{}{}.{}={}", cursor.empty() ? "" : ";", log.first, log.second, offset);
  return cursor;
}

StatusOr<LogPositions> ParseCursor(std::string_view cursor) {
  const Status wrong = WithField(
      InvalidArgument("this cursor is none that TailLogs gave; leave it out to begin anew"),
      "cursor");
  if (cursor.size() > kMaxCursor) return wrong;
  LogPositions positions;
  const char* at = cursor.data();
  const char* const end = at + cursor.size();
  // Reads a number and the character after it.
  const auto number = [&](auto* value, char follows) {
    const auto parsed = std::from_chars(at, end, *value);
    at = parsed.ptr;
    if (parsed.ec != std::errc() || *value < 0) return false;
    if (follows == '\0') return true;
    return at != end && *at++ == follows;
  };
  while (at != end) {
    AttemptNumber attempt = 0;
    int32_t rank = 0;
    int64_t offset = 0;
    if (!number(&attempt, '.') || !number(&rank, '=') || !number(&offset, '\0')) return wrong;
    if (at != end && *at++ != ';') return wrong;
    positions[{attempt, rank}] = offset;
  }
  return positions;
}

StatusOr<std::shared_ptr<LogStream>> LogStream::Make(ServiceRuntime& runtime, CallRecord record,
                                                     const JobId& job,
                                                     const v1::TailLogsRequest& request) {
  if (request.tail_bytes() < 0)
    return WithField(InvalidArgument("tail_bytes is {}: give 0 or more", request.tail_bytes()),
                     "tail_bytes");
  if (request.has_since()) RETURN_IF_ERROR(TimeFromProto(request.since()).status());
  ASSIGN_OR_RETURN(LogPositions positions, ParseCursor(request.cursor()));
  return std::make_shared<LogStream>(runtime, std::move(record), job, request,
                                     std::move(positions));
}

LogStream::LogStream(ServiceRuntime& runtime, CallRecord record, JobId job,
                     v1::TailLogsRequest request, LogPositions positions)
    : OutStream(runtime, std::move(record)),
      job_(std::move(job)),
      request_(std::move(request)),
      positions_(std::move(positions)),
      quiet_since_(runtime.context().clock.Elapsed()) {}

bool LogStream::Wanted(const LogEntry& entry) const {
  return (!request_.has_rank() || request_.rank() == entry.rank) &&
         (!request_.has_attempt() || request_.attempt() == entry.attempt);
}

StatusOr<int64_t> LogStream::FirstOffset(const LogEntry& entry, AttemptNumber newest) const {
  // With a cursor, or after the first look, an unknown log is one that came later.
  if (began_ || !request_.cursor().empty()) return 0;
  const LogStore& logs = runtime_.context().history.logs();
  const LogKey key{job_, entry.attempt, entry.rank};
  int64_t offset = 0;
  if (request_.has_since()) {
    ASSIGN_OR_RETURN(const absl::Time since, TimeFromProto(request_.since()));
    ASSIGN_OR_RETURN(offset, logs.OffsetAt(key, since));
  }
  if (request_.tail_bytes() <= 0) return offset;
  // The tail of a job is that of its newest attempt, unless another was asked for.
  if (!request_.has_attempt() && entry.attempt != newest) return entry.size;
  const int64_t from = entry.size - request_.tail_bytes();
  if (from <= offset) return offset;
  // Begins with a whole line, if there is one.
  ASSIGN_OR_RETURN(const std::string bytes, logs.Read(key, from - 1, kChunkBytes));
  const auto newline = std::find(bytes.begin(), bytes.end(), '\n');
  return newline == bytes.end() ? from : from + (newline - bytes.begin());
}

bool LogStream::JobHasEnded() const {
  const auto view = runtime_.context().coordinator.Get(job_.value);
  return !view.ok() || IsFinal(view->value.job->state);
}

StatusOr<bool> LogStream::FillFrom(const LogEntry& entry, bool ended,
                                   v1::TailLogsResponse* message) {
  const std::pair log(entry.attempt, entry.rank);
  int64_t& offset = positions_[log];
  if (offset >= entry.size) return false;
  ASSIGN_OR_RETURN(std::string bytes, runtime_.context().history.logs().Read(
                                          {job_, entry.attempt, entry.rank}, offset, kChunkBytes));
  // While more may come, lines are sent whole, so that those of several ranks do not mix.
  const size_t newline = bytes.rfind('\n');
  const bool is_full = static_cast<int64_t>(bytes.size()) == kChunkBytes;
  if (newline != std::string::npos) {
    if (is_full || !ended) bytes.resize(newline + 1);
  } else if (!is_full && !ended) {
    return false;
  }
  if (bytes.empty()) return false;
  message->set_attempt(entry.attempt);
  message->set_rank(entry.rank);
  message->set_offset(offset);
  offset += static_cast<int64_t>(bytes.size());
  message->set_data(std::move(bytes));
  message->set_cursor(CursorOf(positions_));
  last_sent_ = log;
  return true;
}

StatusOr<LogStream::Next> LogStream::Fill(v1::TailLogsResponse* message) {
  const absl::Duration now = runtime_.context().clock.Elapsed();
  if (!JobHasEnded()) quiet_since_ = now;
  const bool all_is_there = !request_.follow() || now - quiet_since_ >= kQuietAfterEnd;
  ASSIGN_OR_RETURN(std::vector<LogEntry> logs, runtime_.context().history.logs().List(job_));
  std::erase_if(logs, [this](const LogEntry& entry) { return !Wanted(entry); });
  for (const LogEntry& entry : logs) {
    const std::pair log(entry.attempt, entry.rank);
    if (positions_.contains(log)) continue;
    ASSIGN_OR_RETURN(positions_[log], FirstOffset(entry, logs.back().attempt));
  }
  began_ = true;
  // Round and round, beginning after the one that was served last.
  const auto next = std::find_if(logs.begin(), logs.end(), [this](const LogEntry& entry) {
    return std::pair(entry.attempt, entry.rank) > last_sent_;
  });
  // Without `follow` a reader expects one log after the other.
  if (request_.follow()) std::rotate(logs.begin(), next, logs.end());
  for (const LogEntry& entry : logs) {
    ASSIGN_OR_RETURN(const bool filled, FillFrom(entry, all_is_there, message));
    if (!filled) continue;
    if (!all_is_there) quiet_since_ = now;
    return Next::kMessage;
  }
  return all_is_there ? Next::kEnd : Next::kNothingYet;
}

}  // namespace trainyard::coordinator

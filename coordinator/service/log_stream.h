// The logs of a job's ranks as one stream that can be resumed: a cursor holds, for every log, the
// offset of the next byte to send.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "coordinator/service/stream.h"
#include "trainyard/v1/job_service.pb.h"

namespace trainyard::coordinator {

// (attempt, rank) -> offset.
using LogPositions = std::map<std::pair<AttemptNumber, int32_t>, int64_t>;
// "1.0=123;1.1=44". Opaque to clients.
std::string CursorOf(const LogPositions& positions);
StatusOr<LogPositions> ParseCursor(std::string_view cursor);

class LogStream final : public OutStream<v1::TailLogsResponse> {
 public:
  // InvalidArgument for a request that makes no sense.
  static StatusOr<std::shared_ptr<LogStream>> Make(ServiceRuntime& runtime, CallRecord record,
                                                   const JobId& job,
                                                   const v1::TailLogsRequest& request);
  LogStream(ServiceRuntime& runtime, CallRecord record, JobId job, v1::TailLogsRequest request,
            LogPositions positions);

 private:
  StatusOr<Next> Fill(v1::TailLogsResponse* message) override;
  bool Wanted(const LogEntry& entry) const;
  // Where to begin with a log that the cursor does not know.
  StatusOr<int64_t> FirstOffset(const LogEntry& entry, AttemptNumber newest) const;
  StatusOr<bool> FillFrom(const LogEntry& entry, bool ended, v1::TailLogsResponse* message);
  bool JobHasEnded() const;

  const JobId job_;
  const v1::TailLogsRequest request_;
  LogPositions positions_;
  bool began_ = false;
  std::pair<AttemptNumber, int32_t> last_sent_ = {0, 0};  // the next log gets its turn
  absl::Duration quiet_since_;                            // the job has ended and nothing came
};

}  // namespace trainyard::coordinator

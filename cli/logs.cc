// logs: bytes of the ranks' output by cursor, so that a broken stream goes on without loss.
#include <absl/time/clock.h>

#include <cstdio>
#include <map>

#include "cli/commands.h"
#include "cli/exit_code.h"

namespace trainyard::cli {
namespace {

constexpr int kTries = 60;

// Prints whole lines with "rank 0 | " in front when several ranks speak.
class LinePrinter {
 public:
  explicit LinePrinter(bool prefixed) : prefixed_(prefixed) {}
  ~LinePrinter() {
    for (auto& [rank, partial] : partial_)
      if (!partial.empty()) PrintLine(rank, partial + "\n");
  }
  void Add(int rank, const std::string& bytes) {
    std::string& partial = partial_[rank];
    partial += bytes;
    size_t begin = 0;
    for (size_t end; (end = partial.find('\n', begin)) != std::string::npos; begin = end + 1)
      PrintLine(rank, partial.substr(begin, end - begin + 1));
    partial.erase(0, begin);
    std::fflush(stdout);
  }

 private:
  void PrintLine(int rank, const std::string& line) {
    if (prefixed_) std::printf("rank %d | ", rank);
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  const bool prefixed_;
  std::map<int, std::string> partial_;
};

}  // namespace

int Logs(const Place& place, const LogsOptions& options) {
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  v1::TailLogsRequest request;
  request.set_name(NameOfRef(options.job));
  request.set_follow(options.follow);
  if (options.rank) request.set_rank(*options.rank);
  if (options.attempt) request.set_attempt(*options.attempt);
  if (options.tail_bytes) request.set_tail_bytes(*options.tail_bytes);
  if (options.since_seconds > 0)
    request.mutable_since()->set_seconds(
        static_cast<int64_t>(NowSeconds() - options.since_seconds));

  LinePrinter printer(!options.rank.has_value());
  grpc::Status status;
  for (int i = 0; i < kTries; ++i) {
    grpc::ClientContext context;
    (*client)->Prepare(context, /*seconds=*/0);
    const auto reader = (*client)->jobs().TailLogs(&context, request);
    v1::TailLogsResponse response;
    while (reader->Read(&response)) {
      if (std::ferror(stdout) != 0) {  // nobody gets to read what comes
        context.TryCancel();
        return kOk;  // FinishStdout says why
      }
      printer.Add(response.rank(), response.data());
      request.set_cursor(response.cursor());
      i = 0;
    }
    status = reader->Finish();
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE) break;
    absl::SleepFor(absl::Milliseconds(500));  // the coordinator is away: go on from the cursor
  }
  return status.ok() ? kOk : Fail((*client)->Explain(status));
}

}  // namespace trainyard::cli

#include "worker/loop/rank_main.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "common/files.h"
#include "common/link/exit_record.h"
#include "common/link/link_server.h"
#include "common/link/rank_spec.h"
#include "common/thread.h"
#include "worker/loop/kinds.h"
#include "worker/loop/linked_rank.h"
#include "worker/loop/outcome.h"

namespace trainyard::worker {
namespace {

constexpr size_t kSecretBytesMax = 4096;
// How long a rank that was told to stop now may take to leave by itself.
constexpr absl::Duration kGrace = absl::Seconds(3);
// How long the last words may take to reach the agent; what does not is in the exit record.
constexpr absl::Duration kLastWords = absl::Seconds(2);

enum ExitCode { kExitSucceeded = 0, kExitFailed = 1, kExitStopped = 130 };

int ExitCodeOf(const link::Outcome& outcome) {
  switch (outcome.kind) {
    case link::OutcomeKind::kSucceeded:
      return kExitSucceeded;
    case link::OutcomeKind::kStopped:
      return kExitStopped;
    case link::OutcomeKind::kFailed:
      return kExitFailed;
  }
  return kExitFailed;
}

StatusOr<std::string> ReadSecret(int descriptor) {
  const UniqueFd fd(descriptor);
  std::string secret;
  char bytes[kSecretBytesMax];
  while (secret.size() <= kSecretBytesMax) {
    const ssize_t n = ::read(fd.get(), bytes, sizeof(bytes));
    if (n == 0) break;
    if (n < 0 && errno != EINTR) return ErrnoStatus(errno, "reading the secret");
    if (n > 0) secret.append(bytes, static_cast<size_t>(n));
  }
  if (secret.empty() || secret.size() > kSecretBytesMax) {
    return InvalidArgument("the secret has {} bytes; 1 to {} are wanted", secret.size(),
                           kSecretBytesMax);
  }
  return secret;
}

// A file of the job's data in the BlobStore, its bytes checked.
StatusOr<std::filesystem::path> DatasetPath(BlobStore& blobs, const BlobRef& file) {
  const std::string key = "datasets/" + file.sha256;
  ASSIGN_OR_RETURN(const auto path, blobs.LocalPath(key));
  if (!path.has_value()) {
    return Unimplemented("datasets in a BlobStore that is not a folder of this machine");
  }
  auto sha256 = Sha256OfFile(*path);
  if (!sha256.ok()) return Annotate(sha256.status(), fmt::format("{} ({})", file.name, key));
  if (*sha256 != file.sha256) {
    return DataLoss("{} ({}) is not what was uploaded; submit the job again", file.name, key);
  }
  return *path;
}

// Everything a rank needs besides its loop, in the order it comes to be.
class RankProcess {
 public:
  RankProcess(link::RankSpec spec, const RankMainOptions& options)
      : spec_(std::move(spec)), options_(options) {}

  int Run(std::string secret) {
    StatusOr<std::unique_ptr<link::LinkServer>> server =
        link::LinkServer::Start({.socket_path = spec_.socket_path,
                                 .secret = std::move(secret),
                                 .job = spec_.job,
                                 .attempt = spec_.attempt,
                                 .rank = spec_.rank},
                                clock_);
    if (!server.ok()) {
      link::RankStatus status;
      status.outcome = OutcomeOf(server.status());
      return Leave(status);
    }
    server_ = *std::move(server);
    link_.emplace(server_.get(), &clock_, absl::Seconds(options_.agent_timeout_seconds));
    link::Outcome outcome;
    {
      StopSignal done;
      const Thread watch("stop-now", [&] { WatchStopNow(done); });
      outcome = RunLoop();
      done.Stop();
    }
    const link::RankStatus status = link_->End(outcome);
    server_->Flush(kLastWords);
    return Leave(status);
  }

 private:
  link::Outcome RunLoop() {
    StatusOr<std::unique_ptr<DirectoryBlobStore>> blobs = DirectoryBlobStore::Open(spec_.blob_root);
    if (!blobs.ok()) return OutcomeOf(WithReason(blobs.status(), kInternal));
    const RankContext context{
        .spec = spec_.spec,
        .job = spec_.job,
        .attempt = spec_.attempt,
        .rank = spec_.rank,
        .ranks = static_cast<int>(spec_.ranks.size()),
        .bind_address = spec_.bind_address,
        .work_dir = spec_.work_dir,
        .paces_file = spec_.paces_file.value_or(""),
        .dataset_path = [&](const BlobRef& file) { return DatasetPath(**blobs, file); },
        .blobs = blobs->get(),
        .link = &*link_,
        .abort = &abort_,
        .clock = &clock_};
    return RunJob(context);
  }

  // Frees a loop that is blocked in its collective; one that does not leave is left behind.
  // Meanwhile says for the loop that the process lives.
  void WatchStopNow(const StopSignal& done) {
    const auto now = [](const link::Directive& d) { return d.stop == link::StopMode::kNow; };
    while (!done.stopped()) {
      link_->Pulse(abort_.sequence());
      if (!server_->WaitForDirective(now, absl::Milliseconds(100)).ok()) continue;
      abort_.Fire();
      if (done.WaitFor(kGrace)) return;
      spdlog::warn("told to stop now; leaving in the middle of the work");
      Leave(link_->End(Stopped(kStopped, "told to stop now")));
      ::_exit(kExitStopped);
    }
  }

  // The last thing this process does.
  int Leave(link::RankStatus status) {
    const link::Outcome outcome = *status.outcome;
    status.job = spec_.job;
    status.attempt = spec_.attempt;
    status.rank = spec_.rank;
    link::ExitRecord record{.wall_time = absl::ToDoubleSeconds(clock_.Now() - absl::UnixEpoch()),
                            .status = std::move(status),
                            .telemetry_file = ""};
    const std::filesystem::path folder = spec_.work_dir;
    if (server_ != nullptr) {
      const StatusOr<bool> saved =
          server_->SaveUnsentTelemetry(folder / link::kUnsentTelemetryFile);
      if (!saved.ok()) spdlog::warn("telemetry is lost: {}", MessageOf(saved.status()));
      if (saved.ok() && *saved) record.telemetry_file = link::kUnsentTelemetryFile;
    }
    spdlog::info("outcome={} reason={} {}", link::OutcomeKindName(outcome.kind), outcome.reason,
                 outcome.message);
    const Status written = link::WriteExitRecord(folder / link::kExitRecordFile, record);
    if (!written.ok()) spdlog::error("no exit record: {}", MessageOf(written));
    return ExitCodeOf(outcome);
  }

  const link::RankSpec spec_;
  const RankMainOptions options_;
  const SystemClock clock_;
  AbortSwitch abort_;
  std::unique_ptr<link::LinkServer> server_;
  std::optional<LinkedRank> link_;
};

}  // namespace

int RankMain(const RankMainOptions& options) {
  StatusOr<std::string> secret = ReadSecret(options.secret_fd);
  StatusOr<link::RankSpec> spec = link::ReadRankSpec(options.spec_file);
  for (const Status& status : {secret.status(), spec.status()}) {
    if (status.ok()) continue;
    spdlog::error("{}", MessageOf(status));
    return kExitFailed;
  }
  return RankProcess(*std::move(spec), options).Run(*std::move(secret));
}

}  // namespace trainyard::worker

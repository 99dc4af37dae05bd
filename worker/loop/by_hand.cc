#include "worker/loop/by_hand.h"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <time.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "common/files.h"
#include "common/job_spec/json.h"
#include "common/job_spec/local_data.h"
#include "common/job_spec/local_model.h"
#include "common/job_spec/resolve.h"
#include "common/job_spec/yaml.h"
#include "common/thread.h"
#include "worker/loop/alone_rank.h"
#include "worker/loop/kinds.h"
#include "worker/loop/recorded_checkpoints.h"

namespace trainyard::worker {
namespace {

StatusOr<ParsedJob> ReadJobFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxInputBytes));
  if (path.extension() != ".json") return ParseJobYaml(text, path.string());
  const auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("{}: not valid JSON", path.string());
  // A resolved spec as the store keeps it has its origins beside it.
  StatusOr<ParsedJob> job = ParseJobJson(json.contains("spec") ? json["spec"] : json);
  if (!job.ok()) return Annotate(job.status(), path.string());
  return job;
}

StatusOr<JobSpec> ReadSpec(const ByHandOptions& options) {
  ASSIGN_OR_RETURN(ParsedJob job, ReadJobFile(options.job_file));
  for (const std::string& assignment : options.set) RETURN_IF_ERROR(ApplySet(&job, assignment));
  job.spec.resources.ranks = 1;
  for (const std::string& note : job.notes) spdlog::info("{}", note);
  ASSIGN_OR_RETURN(ResolvedSpec resolved, Resolve(job));
  return std::move(resolved.spec);
}

// Held as long as the job runs: two jobs in one folder would overwrite each other.
StatusOr<UniqueFd> Lock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, path.string());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return FailedPrecondition("another job runs in {}; choose another --out", folder.string());
  }
  return fd;
}

// Turns SIGTERM and SIGINT into requests, until `done`.
void WatchSignals(AloneRank& link, AbortSwitch& abort, const StopSignal& done) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  while (!done.stopped()) {
    const timespec slice = {.tv_sec = 0, .tv_nsec = 100'000'000};
    if (sigtimedwait(&signals, nullptr, &slice) < 0) continue;
    if (link.stop() == link::StopMode::kNone) {
      spdlog::info("stopping after this step, with a checkpoint; once more stops at once");
      link.RequestStop(link::StopMode::kCheckpoint);
    } else {
      link.RequestStop(link::StopMode::kNow);
      abort.Fire();
    }
  }
}

}  // namespace

StatusOr<link::Outcome> RunByHand(const ByHandOptions& options) {
  RankContext context;
  ASSIGN_OR_RETURN(context.spec, ReadSpec(options));
  const std::pair<const char*, const std::string*> refs[] = {
      {"model.from", &context.spec.model.from}, {"tokenizer.from", &context.spec.tokenizer.from}};
  for (const auto& [field, from] : refs) {
    if (!NamesCheckpoint(*from)) continue;
    return WithField(InvalidArgument("{}: {} is known to a coordinator only; give a folder, or "
                                     "submit the job",
                                     field, *from),
                     field);
  }
  std::vector<std::string> notes;
  ASSIGN_OR_RETURN(const LocalFiles files, DigestLocalData(context.spec, &notes));
  for (const std::string& note : notes) spdlog::info("{}", note);
  ASSIGN_OR_RETURN(const auto blobs, DirectoryBlobStore::Open(options.out));
  ASSIGN_OR_RETURN(const UniqueFd lock, Lock(options.out));
  ASSIGN_OR_RETURN(auto recorded,
                   RecordedCheckpoints::Open(options.out / "recorded.json", blobs.get()));
  if (!options.resume && !recorded.checkpoints().empty()) {
    return FailedPrecondition(
        "{} holds the checkpoints of an earlier run; add --resume to go on "
        "from them, or choose another --out",
        options.out.string());
  }
  context.job = JobId{context.spec.name};
  ASSIGN_OR_RETURN(const auto resume, recorded.NewestIntact());
  RETURN_IF_ERROR(recorded.Sweep(context.job));
  ASSIGN_OR_RETURN(context.attempt, recorded.BeginAttempt());

  const SystemClock clock;
  AbortSwitch abort;
  const int64_t limit = context.spec.checkpoint.save_total_limit;
  AloneRank link({.attempt = context.attempt,
                  .resume = resume,
                  .metrics_file = options.out / "metrics.jsonl",
                  .record = [&](const link::WrittenCheckpoint& checkpoint) {
                    return recorded.Record(checkpoint, limit);
                  }});
  context.work_dir = options.out / "work";
  context.paces_file = options.out / "paces.json";
  context.dataset_path = [&](const BlobRef& file) -> StatusOr<std::filesystem::path> {
    const auto found = files.find(file.sha256);
    if (found == files.end()) {
      return NotFound("{}: no path is given for it, only a digest", file.name);
    }
    return found->second.path;
  };
  context.blobs = blobs.get();
  context.link = &link;
  context.abort = &abort;
  context.clock = &clock;

  StopSignal done;
  const Thread signals("signals", [&] { WatchSignals(link, abort, done); });
  const link::Outcome outcome = RunJob(context);
  done.Stop();
  return outcome;
}

}  // namespace trainyard::worker

// Latency of durable submits in an open loop: requests leave at the times of a Poisson process,
// whether earlier ones were answered or not, and each is timed from the moment it was due. An
// answer comes after the coordinator's fsync. A coordinator must run on HOME; its jobs stay queued
// there.
//   bench_submit --home HOME --job quickstart.yaml [--clients 50] [--rate 500] [--seconds 20]
// Prints one JSON line; exit 1 when a submit failed.
#include <absl/strings/str_cat.h>
#include <absl/synchronization/mutex.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "cli/client.h"
#include "cli/upload.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/job_spec/yaml.h"
#include "common/rng.h"
#include "common/wire/job_spec.h"

namespace trainyard::bench {
namespace {

struct Options {
  cli::Place place;
  std::string job_file;
  int clients = 50;
  double rate = 500;  // submits a second, over all clients
  double seconds = 20;
  uint64_t seed = 1;
};

// The value below which a share of them lies.
double Quantile(const std::vector<double>& sorted, double share) {
  const auto i = static_cast<size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(i, sorted.size() - 1)];
}

// The disk's own part: milliseconds to append a page to a file beside the database and fdatasync.
StatusOr<std::vector<double>> SyncTimes(const std::filesystem::path& home, const Clock& clock) {
  constexpr int kTimes = 200;
  const std::filesystem::path path = home / "bench-sync";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, path.string());
  const std::string page(4096, 'x');
  std::vector<double> times;
  for (int i = 0; i < kTimes; ++i) {
    const absl::Duration begin = clock.Elapsed();
    RETURN_IF_ERROR(WriteAll(fd.get(), page, path.string()));
    if (::fdatasync(fd.get()) != 0) return ErrnoStatus(errno, path.string());
    times.push_back(absl::ToDoubleMilliseconds(clock.Elapsed() - begin));
  }
  ::unlink(path.c_str());
  return times;
}

// One submit on its way; lives until its answer came.
struct Submit {
  grpc::ClientContext context;
  v1::CreateJobRequest request;
  v1::Job answer;
};

// What came back.
class Answers {
 public:
  void Add(double latency_ms, const grpc::Status& status) {
    absl::MutexLock lock(&mu_);
    latency_ms_.push_back(latency_ms);
    if (!status.ok()) ++errors_[status.error_message()];
  }
  // Waits until `n` answers are in; false when the time is over.
  bool WaitFor(size_t n, absl::Duration timeout) {
    const auto done = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return latency_ms_.size() >= n; };
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&done), timeout);
  }
  std::vector<double> latency_ms() const {
    absl::MutexLock lock(&mu_);
    return latency_ms_;
  }
  std::map<std::string, int> errors() const {
    absl::MutexLock lock(&mu_);
    return errors_;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<double> latency_ms_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int> errors_ ABSL_GUARDED_BY(mu_);
};

// One connection each, as separate clients have.
StatusOr<std::vector<std::unique_ptr<v1::JobService::Stub>>> Connect(const cli::Client& client,
                                                                     int n) {
  std::vector<std::unique_ptr<v1::JobService::Stub>> stubs;
  for (int i = 0; i < n; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stubs.push_back(v1::JobService::NewStub(grpc::CreateCustomChannel(
        client.address(), grpc::InsecureChannelCredentials(), arguments)));
    RETURN_IF_ERROR(
        client.Call(*stubs.back(), &v1::JobService::Stub::ListWorkers, v1::ListWorkersRequest())
            .status());
  }
  return stubs;
}

void SleepUntil(absl::Duration elapsed, const Clock& clock) {
  const absl::Duration wait = elapsed - clock.Elapsed();
  if (wait <= absl::ZeroDuration()) return;
  const timespec time = absl::ToTimespec(wait);
  ::nanosleep(&time, nullptr);
}

StatusOr<v1::JobSpec> UploadSpec(cli::Client& client, const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, 1 << 20));
  ASSIGN_OR_RETURN(ParsedJob job, ParseJobYaml(text, file));
  RETURN_IF_ERROR(cli::UploadDatasets(client, job, /*quiet=*/true));
  return GivenToProto(job);
}

Status Run(const Options& options) {
  const SystemClock clock;
  ASSIGN_OR_RETURN(const auto client, cli::Client::Connect(options.place));
  ASSIGN_OR_RETURN(const v1::JobSpec spec, UploadSpec(*client, options.job_file));
  ASSIGN_OR_RETURN(const auto stubs, Connect(*client, options.clients));
  ASSIGN_OR_RETURN(std::vector<double> sync_ms, SyncTimes(options.place.home, clock));
  ::prctl(PR_SET_TIMERSLACK, 1);  // the default adds 50 us to every sleep

  const Rng chance{.seed = options.seed, .purpose = Purpose::kSample};
  const std::string run = RandomHex(8);
  Answers answers;
  std::vector<double> late_ms;  // the sender's own delay, part of each latency
  size_t sent = 0;
  absl::Duration due = clock.Elapsed() + absl::Milliseconds(100);
  const absl::Duration until = due + absl::Seconds(options.seconds);
  while (true) {
    due += absl::Seconds(-std::log1p(-chance.Uniform(0, sent)) / options.rate);
    if (due >= until) break;
    SleepUntil(due, clock);
    late_ms.push_back(absl::ToDoubleMilliseconds(clock.Elapsed() - due));
    auto* submit = new Submit;  // freed by its answer
    *submit->request.mutable_spec() = spec;
    submit->request.set_request_id(absl::StrCat(run, "-", sent));
    client->Prepare(submit->context, /*seconds=*/30);
    stubs[sent++ % stubs.size()]->async()->CreateJob(
        &submit->context, &submit->request, &submit->answer,
        [submit, due, &answers, &clock](const grpc::Status& status) {
          answers.Add(absl::ToDoubleMilliseconds(clock.Elapsed() - due), status);
          delete submit;
        });
  }
  const double sending_seconds = absl::ToDoubleSeconds(clock.Elapsed() - until) + options.seconds;
  if (!answers.WaitFor(sent, absl::Seconds(60)))
    return DeadlineExceeded("not all of {} submits were answered", sent);

  for (const auto& [message, count] : answers.errors())
    std::fprintf(stderr, "%d submits failed: %s\n", count, message.c_str());
  std::vector<double> latency_ms = answers.latency_ms();
  std::sort(latency_ms.begin(), latency_ms.end());
  std::sort(late_ms.begin(), late_ms.end());
  std::sort(sync_ms.begin(), sync_ms.end());
  std::printf(
      "{\"submits\": %zu, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p90_ms\": %.3f, "
      "\"p99_ms\": %.3f, \"max_ms\": %.3f, \"sender_late_p99_ms\": %.3f, \"fsync_p50_ms\": %.3f, "
      "\"fsync_p99_ms\": %.3f}\n",
      sent, static_cast<double>(sent) / sending_seconds, Quantile(latency_ms, 0.5),
      Quantile(latency_ms, 0.9), Quantile(latency_ms, 0.99), latency_ms.back(),
      Quantile(late_ms, 0.99), Quantile(sync_ms, 0.5), Quantile(sync_ms, 0.99));
  return answers.errors().empty() ? OkStatus() : Unavailable("some submits failed");
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Latency of durable submits, open loop.", "bench_submit");
  app.add_option("--home", options.place.home, "of the coordinator")->required();
  app.add_option("--job", options.job_file, "job file to submit")->required();
  app.add_option("--clients", options.clients)->check(CLI::Range(1, 1000));
  app.add_option("--rate", options.rate, "submits a second in all")->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);
  const Status status = Run(options);
  if (!status.ok()) std::fprintf(stderr, "error: %s\n", MessageOf(status).c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace trainyard::bench

int main(int argc, char** argv) { return trainyard::bench::Main(argc, argv); }

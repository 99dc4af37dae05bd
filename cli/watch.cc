// watch and wait: follow a job to its end. On a terminal a table redrawn in place, elsewhere one
// line per change. A broken stream is taken up again; the exit code comes from the job's state
// only.
#include <absl/synchronization/mutex.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/files.h"
#include "common/thread.h"

namespace trainyard::cli {
namespace {

constexpr size_t kLossPointsMax = 4096;

bool Ended(const v1::Job& job) {
  return job.state() == v1::SUCCEEDED || job.state() == v1::FAILED || job.state() == v1::CANCELLED;
}

int ExitCodeOfJob(const v1::Job& job) { return job.state() == v1::SUCCEEDED ? kOk : kJobFailed; }

// What is known of the job; the stream threads write it, the drawing thread reads it.
class Model {
 public:
  void SetJob(const v1::Job& job) {
    absl::MutexLock lock(&mu_);
    job_ = job;
    ++version_;
  }
  void AddPoints(const v1::WatchMetricsResponse& response) {
    absl::MutexLock lock(&mu_);
    for (const v1::MetricPoint& point : response.points()) {
      if (point.name() == "loss" && !point.undone()) loss_[point.step()] = point.value();
      latest_[point.name()] = point.value();
    }
    while (loss_.size() > kLossPointsMax) loss_.erase(loss_.begin());
    ++version_;
  }
  void SetError(const Status& error) {
    absl::MutexLock lock(&mu_);
    error_ = error;
    ++version_;
  }
  struct Snapshot {
    v1::Job job;
    std::vector<double> loss;
    std::map<std::string, double> latest;
    Status error;
    int64_t version = 0;
  };
  Snapshot Take() const {
    absl::MutexLock lock(&mu_);
    Snapshot snapshot{job_, {}, latest_, error_, version_};
    for (const auto& [step, loss] : loss_) snapshot.loss.push_back(loss);
    return snapshot;
  }

 private:
  mutable absl::Mutex mu_;
  v1::Job job_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, double> loss_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, double> latest_ ABSL_GUARDED_BY(mu_);
  Status error_ ABSL_GUARDED_BY(mu_);
  int64_t version_ ABSL_GUARDED_BY(mu_) = 0;
};

// Reads one server stream after another until `stop`, or an error that trying again cannot mend.
class Follower {
 public:
  explicit Follower(Client& client) : client_(client) {}
  ~Follower() { Stop(); }

  void Start(const std::string& job_id, Model& model, bool with_metrics) {
    threads_.emplace_back("watch-job", [this, job_id, &model] {
      v1::WatchJobRequest request;
      request.set_name(NameOfRef(job_id));
      Loop<v1::WatchJobResponse>(
          model,
          [&](grpc::ClientContext* context) { return client_.jobs().WatchJob(context, request); },
          [&](const v1::WatchJobResponse& response) { model.SetJob(response.job()); });
    });
    if (!with_metrics) return;
    threads_.emplace_back("watch-metrics", [this, job_id, &model] {
      v1::WatchMetricsRequest request;
      request.set_name(NameOfRef(job_id));
      request.set_follow(true);
      Loop<v1::WatchMetricsResponse>(
          model,
          [&](grpc::ClientContext* context) {
            return client_.jobs().WatchMetrics(context, request);
          },
          [&](const v1::WatchMetricsResponse& response) { model.AddPoints(response); });
    });
  }

  void Stop() {
    stop_.Stop();
    {
      absl::MutexLock lock(&mu_);
      for (grpc::ClientContext* context : open_) context->TryCancel();
    }
    threads_.clear();
  }

 private:
  template <class Response, class Open, class Use>
  void Loop(Model& model, Open open, Use use) {
    while (!stop_.stopped()) {
      grpc::ClientContext context;
      client_.Prepare(context, /*seconds=*/0);
      {
        absl::MutexLock lock(&mu_);
        open_.push_back(&context);
      }
      auto reader = open(&context);
      Response response;
      while (reader->Read(&response)) use(response);
      const grpc::Status status = reader->Finish();
      {
        absl::MutexLock lock(&mu_);
        std::erase(open_, &context);
      }
      const v1::Job job = model.Take().job;
      if (status.ok() && Ended(job)) return;
      if (!status.ok() && status.error_code() != grpc::StatusCode::UNAVAILABLE &&
          status.error_code() != grpc::StatusCode::CANCELLED) {
        model.SetError(client_.Explain(status));
        return;
      }
      stop_.WaitFor(absl::Milliseconds(500));  // the coordinator is away: try again
    }
  }

  Client& client_;
  StopSignal stop_;
  absl::Mutex mu_;
  std::vector<grpc::ClientContext*> open_ ABSL_GUARDED_BY(mu_);
  std::vector<Thread> threads_;
};

double EtaSeconds(const Model::Snapshot& now) {
  const auto tokens = now.latest.find("step_seconds");
  if (tokens == now.latest.end()) return -1;
  return tokens->second * static_cast<double>(now.job.max_steps() - now.job.step());
}

std::string Latest(const Model::Snapshot& now, const std::string& name, const char* format) {
  const auto it = now.latest.find(name);
  return it == now.latest.end() ? "-" : fmt::format(fmt::runtime(format), it->second);
}

std::string Bar(double share, int width) {
  const int full = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < full ? "━" : "─";
  return bar;
}

std::vector<std::string> Screen(const Model::Snapshot& now) {
  const v1::Job& job = now.job;
  const double share = job.max_steps() > 0 ? double(job.step()) / double(job.max_steps()) : 0.0;
  std::vector<std::string> lines;
  lines.push_back(fmt::format("{}  {}  attempt {}  {}", Bold(job.job_id()),
                              ColourState(v1::JobState_Name(job.state())), job.attempt(),
                              Dim(job.message())));
  lines.push_back(fmt::format("  step {:>6}/{}  {}  {:3.0f} %   ETA {}", job.step(),
                              job.max_steps(), Bar(share, 30), 100 * share,
                              Ended(job) ? "-" : FormatSeconds(EtaSeconds(now))));
  lines.push_back(
      fmt::format("  loss {:>8}  {}", Latest(now, "loss", "{:.4f}"), Sparkline(now.loss, 48)));
  lines.push_back(fmt::format(
      "  tokens/s {:>8}   grad norm {:>8}   lr {:>9}", Latest(now, "tokens_per_second", "{:.0f}"),
      Latest(now, "grad_norm", "{:.3f}"), Latest(now, "learning_rate", "{:.2e}")));
  lines.push_back(fmt::format(
      "  held out: loss {}   perplexity {}   bits/byte {}", Latest(now, "eval_loss", "{:.4f}"),
      Latest(now, "eval_perplexity", "{:.1f}"), Latest(now, "eval_bits_per_byte", "{:.4f}")));
  lines.push_back(
      fmt::format("  checkpoint: {}", job.last_checkpoint_step() > 0
                                          ? fmt::format("step {}", job.last_checkpoint_step())
                                          : std::string("none yet")));
  if (job.attempts_size() > 0)
    for (const v1::Rank& rank : job.attempts(job.attempts_size() - 1).ranks())
      lines.push_back(fmt::format("  rank {}  {:<10} slot {}  step {:<6} {}", rank.rank(),
                                  rank.worker(), rank.slot(), rank.step(), PhaseOf(rank)));
  return lines;
}

// Draws over the lines it drew last time. The terminal cuts what is wider than it: a line that went
// on in the next row would be drawn over in part.
class LiveTable {
 public:
  void Draw(const std::vector<std::string>& lines) {
    std::string out = "\x1b[?7l";
    if (drawn_ > 0) out += fmt::format("\x1b[{}A", drawn_);
    for (const std::string& line : lines) out += "\r\x1b[2K" + line + "\n";
    for (size_t i = lines.size(); i < drawn_; ++i) out += "\r\x1b[2K\n";
    drawn_ = std::max(drawn_, lines.size());
    out += "\x1b[?7h";
    std::fwrite(out.data(), 1, out.size(), stdout);
    std::fflush(stdout);
  }

 private:
  size_t drawn_ = 0;
};

// A line when the state, attempt or message changed, and one every two seconds at most while the
// step moves or a rank says how far its loading is.
class ChangeLog {
 public:
  void Draw(const Model::Snapshot& now) {
    const v1::Job& job = now.job;
    const std::string state = fmt::format("{} attempt {}: {}", v1::JobState_Name(job.state()),
                                          job.attempt(), job.message());
    if (state != state_) {
      std::fprintf(stderr, "%s  %s\n", job.job_id().c_str(), state.c_str());
      state_ = state;
    }
    if (const std::string doing = Doing(job);
        !doing.empty() && doing != doing_ && NowSeconds() - last_doing_ >= 2) {
      std::fprintf(stderr, "%s  %s\n", job.job_id().c_str(), doing.c_str());
      doing_ = doing;
      last_doing_ = NowSeconds();
    }
    if (job.step() != step_ && (NowSeconds() - last_step_line_ >= 2 || Ended(job))) {
      std::fprintf(stderr, "%s  step %ld/%ld  loss %s  tokens/s %s  ETA %s\n", job.job_id().c_str(),
                   static_cast<long>(job.step()), static_cast<long>(job.max_steps()),
                   Latest(now, "loss", "{:.4f}").c_str(),
                   Latest(now, "tokens_per_second", "{:.0f}").c_str(),
                   FormatSeconds(EtaSeconds(now)).c_str());
      step_ = job.step();
      last_step_line_ = NowSeconds();
    }
  }

 private:
  // "rank 0 loading: reading weights, 120 of 538 MB", of the first rank that says how far it is.
  static std::string Doing(const v1::Job& job) {
    if (Ended(job) || job.attempts_size() == 0) return "";
    for (const v1::Rank& rank : job.attempts(job.attempts_size() - 1).ranks())
      if (!rank.doing().empty()) return fmt::format("rank {} {}", rank.rank(), PhaseOf(rank));
    return "";
  }

  std::string state_, doing_;
  double last_doing_ = 0;
  int64_t step_ = -1;
  double last_step_line_ = 0;
};

// What a signal handler may reach: the descriptor that it makes readable.
std::atomic<int> interrupt_fd = -1;

void OnInterrupt(int) {
  const int saved = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(interrupt_fd, &one, sizeof(one));
  errno = saved;
}

// Ctrl-C, a stop and a closed terminal as a readable descriptor. By handlers, not by a mask: the
// threads of a client that is open already have masks of their own.
class Interrupt {
 public:
  Interrupt() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    interrupt_fd = fd_.get();
    Handle(OnInterrupt);
  }
  ~Interrupt() { Handle(SIG_DFL); }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  int fd() const { return fd_.get(); }

 private:
  static void Handle(void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
  }
  UniqueFd fd_;
};

// Follows until the job ends (its exit code), Ctrl-C, or `timeout_seconds` > 0 pass.
int Follow(const Place& place, const std::string& ref, bool draw, double timeout_seconds) {
  const Interrupt interrupt;
  auto client = Client::Connect(place);
  if (!client.ok()) return Fail(client.status());
  v1::GetJobRequest request;
  request.set_name(NameOfRef(ref));
  const auto job = (*client)->Call((*client)->jobs(), &v1::JobService::Stub::GetJob, request);
  if (!job.ok()) return Fail(job.status());

  Model model;
  model.SetJob(*job);
  Follower follower(**client);
  follower.Start(job->job_id(), model, draw);
  const double until = NowSeconds() + timeout_seconds;
  LiveTable table;
  ChangeLog log;
  int64_t drawn_version = -1;
  while (true) {
    const Model::Snapshot now = model.Take();
    if (draw && now.version != drawn_version) {
      if (StdoutIsTerminal())
        table.Draw(Screen(now));
      else
        log.Draw(now);
      drawn_version = now.version;
    }
    if (Ended(now.job)) return ExitCodeOfJob(now.job);
    if (!now.error.ok()) return Fail(now.error);
    if (timeout_seconds > 0 && NowSeconds() >= until) {
      std::fprintf(stderr, "%s is still %s after %.0f s\n", now.job.job_id().c_str(),
                   v1::JobState_Name(now.job.state()).c_str(), timeout_seconds);
      return kWaitTimedOut;
    }
    pollfd poll_fd{interrupt.fd(), POLLIN, 0};
    if (::poll(&poll_fd, 1, 250) > 0) {
      std::fprintf(stderr, "\ndetached; the job goes on. Come back with: trainyard watch %s\n",
                   now.job.job_id().c_str());
      return kDetached;
    }
  }
}

}  // namespace

int Watch(const Place& place, const std::string& job) {
  return Follow(place, job, /*draw=*/true, /*timeout_seconds=*/0);
}

int Wait(const Place& place, const std::string& job, double timeout_seconds, Format format) {
  const int code = Follow(place, job, /*draw=*/false, timeout_seconds);
  const bool job_known = code == kOk || code == kJobFailed || code == kWaitTimedOut;
  if (!IsData(format) || !job_known) return code;
  const int printed = Get(place, job, format);
  return printed == kOk ? code : printed;
}

}  // namespace trainyard::cli

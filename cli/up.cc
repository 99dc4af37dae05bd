// up: a whole local cluster in the foreground. Starts a coordinator and its workers, starts again
// what dies, and on Ctrl-C drains: workers let their trainers write a checkpoint, then the
// coordinator goes. A second Ctrl-C does not wait for the checkpoints.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/lock_owner.h"

namespace trainyard::cli {
namespace {

constexpr absl::Duration kStartLimit = absl::Seconds(30);
constexpr absl::Duration kDrainLimit = absl::Seconds(60);
constexpr absl::Duration kBackoffMin = absl::Milliseconds(200);
constexpr absl::Duration kBackoffMax = absl::Seconds(10);
constexpr absl::Duration kStableAfter = absl::Seconds(30);  // a life this long resets the back-off

// One daemon that should be running.
struct Daemon {
  std::string name;
  std::vector<std::string> words;
  std::filesystem::path log;
  pid_t pid = 0;  // 0: not running
  absl::Duration started = absl::ZeroDuration();
  absl::Duration start_at = absl::ZeroDuration();  // not before
  absl::Duration backoff = kBackoffMin;
};

StatusOr<pid_t> Spawn(const Daemon& daemon) {
  const UniqueFd log(::open(daemon.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", daemon.log.string()));
  std::vector<char*> argv;
  for (const std::string& word : daemon.words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "cannot fork");
  if (pid > 0) return pid;
  // The child. Its own group: a terminal's Ctrl-C reaches only us, so that we can drain in order.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // daemons follow us; trainers outlive them for a while
  if (::getppid() != parent) ::_exit(1);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log.get(), STDOUT_FILENO);
  ::dup2(log.get(), STDERR_FILENO);
  ::execv(argv[0], argv.data());
  std::fprintf(stderr, "cannot start %s\n", argv[0]);
  ::_exit(127);
}

class Cluster {
 public:
  Cluster(const Place& place, const UpOptions& options) : place_(place), options_(options) {
    sigset_t mask;
    sigemptyset(&mask);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mask, signal);
    ::sigprocmask(SIG_BLOCK, &mask, nullptr);
    signals_ = UniqueFd(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  int Run() {
    if (const Status status = Start(); !status.ok()) {
      StopAll(/*drain=*/false);
      return Fail(status);
    }
    Greet();
    while (!interrupted_) {
      for (Daemon& daemon : daemons_)
        if (daemon.pid == 0 && clock_.Elapsed() >= daemon.start_at) Restart(daemon);
      HandleSignals(absl::Milliseconds(200));
    }
    std::fprintf(stderr,
                 "\ndraining: trainers write a checkpoint and stop (Ctrl-C again: at once)\n");
    StopAll(/*drain=*/true);
    std::fprintf(stderr, "stopped. Unfinished jobs go on at the next `trainyard up`.\n");
    return kOk;
  }

 private:
  // Those of an earlier `up` on this home may still drain.
  Status CheckNobodyIsThere() const {
    std::vector<std::pair<std::string, std::filesystem::path>> locks = {
        {"the coordinator", place_.home / "coordinator" / "lock"}};
    for (int i = 0; i < options_.workers; ++i) {
      const std::string id = fmt::format("worker-{}", i);
      locks.emplace_back(id, place_.home / "worker" / id / "lock");
    }
    std::string held;
    for (const auto& [name, lock] : locks)
      if (const auto holder = LockHolder(lock))
        held += fmt::format("{}{} ({})", held.empty() ? "" : ", ", name, *holder);
    if (held.empty()) return OkStatus();
    return WithReason(
        FailedPrecondition("a cluster runs on {} already, or still stops: {}. Use it, stop it "
                           "(Ctrl-C where it runs), or give this one its own --home",
                           place_.home.string(), held),
        "HOME_IN_USE");
  }

  Status Start() {
    RETURN_IF_ERROR(CheckNobodyIsThere());
    RETURN_IF_ERROR(MakeFolders(place_.home / "logs"));
    const std::filesystem::path programs = ProgramFolder();
    daemons_.push_back(
        {"coordinator",
         {(programs / "trainyard-coordinator").string(), "serve", "--home", place_.home.string(),
          "--grpc", fmt::format("127.0.0.1:{}", options_.grpc_port), "--http",
          fmt::format("127.0.0.1:{}", options_.http_port)},
         place_.home / "logs" / "coordinator.log"});
    RETURN_IF_ERROR(StartNow(daemons_.back()));
    RETURN_IF_ERROR(WaitForCoordinator());
    // A restarted coordinator keeps the ports the workers and clients know.
    daemons_[0].words[5] = grpc_address_;
    daemons_[0].words[7] = http_address_;
    for (int i = 0; i < options_.workers; ++i) {
      const std::string id = fmt::format("worker-{}", i);
      daemons_.push_back(
          {id,
           {(programs / "trainyard-worker").string(), "--id", id, "--coordinator", grpc_address_,
            "--token-file", (place_.home / "tokens" / "worker").string(), "--scraper-token-file",
            (place_.home / "tokens" / "scraper").string(), "--home",
            (place_.home / "worker" / id).string(), "--blobs", (place_.home / "blobs").string(),
            "--slots", std::to_string(options_.slots_per_worker), "--drain"},
           place_.home / "logs" / (id + ".log")});
    }
    for (size_t i = 1; i < daemons_.size(); ++i) RETURN_IF_ERROR(StartNow(daemons_[i]));
    return OkStatus();
  }

  Status StartNow(Daemon& daemon) {
    ASSIGN_OR_RETURN(daemon.pid, Spawn(daemon));
    daemon.started = clock_.Elapsed();
    return OkStatus();
  }

  void Restart(Daemon& daemon) {
    if (const Status status = StartNow(daemon); !status.ok()) {
      daemon.start_at = clock_.Elapsed() + daemon.backoff;
      Fail(status);
    }
  }

  // The coordinator writes its addresses once it is bound.
  Status WaitForCoordinator() {
    const auto path = place_.home / "coordinator" / "addresses.json";
    const absl::Duration until = clock_.Elapsed() + kStartLimit;
    while (clock_.Elapsed() < until && !interrupted_) {
      if (const auto text = ReadFile(path, 1 << 16); text.ok()) {
        const auto json = nlohmann::json::parse(*text, nullptr, false);
        if (json.is_object() && json.value("pid", 0) == daemons_[0].pid) {
          grpc_address_ = json.value("grpc", "");
          http_address_ = json.value("http", "");
          return OkStatus();
        }
      }
      HandleSignals(absl::Milliseconds(20));
      if (daemons_[0].pid == 0)
        return Unavailable("the coordinator did not start; its last words are in {}{}",
                           daemons_[0].log.string(), LastLines(daemons_[0].log));
    }
    return DeadlineExceeded("the coordinator was not ready within {} s; see {}",
                            absl::ToInt64Seconds(kStartLimit), daemons_[0].log.string());
  }

  static std::string LastLines(const std::filesystem::path& log) {
    const auto text = ReadFile(log);
    if (!text.ok()) return "";
    return ":\n" + text->substr(text->size() > 600 ? text->size() - 600 : 0);
  }

  void HandleSignals(absl::Duration wait) {
    pollfd poll_fd{signals_.get(), POLLIN, 0};
    ::poll(&poll_fd, 1, static_cast<int>(absl::ToInt64Milliseconds(wait)));
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo != SIGCHLD) {
        hurry_ = interrupted_;
        interrupted_ = true;
      }
    }
    Reap();
  }

  void Reap() {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      for (Daemon& daemon : daemons_) {
        if (daemon.pid != pid) continue;
        daemon.pid = 0;
        const absl::Duration now = clock_.Elapsed();
        if (now - daemon.started > kStableAfter) daemon.backoff = kBackoffMin;
        daemon.start_at = now + daemon.backoff;
        daemon.backoff = std::min(2 * daemon.backoff, kBackoffMax);
        if (!interrupted_)
          std::fprintf(stderr, "%s ended (%s); starting it again. Log: %s\n", daemon.name.c_str(),
                       WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status)).c_str()
                                           : fmt::format("exit {}", WEXITSTATUS(status)).c_str(),
                       daemon.log.c_str());
      }
    }
  }

  // Workers first, so that the coordinator still records their last checkpoints.
  void StopAll(bool drain) {
    const auto stop = [&](auto begin, auto end) {
      for (auto it = begin; it != end; ++it)
        if (it->pid != 0) ::kill(it->pid, SIGTERM);
      const absl::Duration until = clock_.Elapsed() + (drain ? kDrainLimit : absl::Seconds(5));
      bool hurried = false;
      const auto running = [&] {
        return std::any_of(begin, end, [](const Daemon& daemon) { return daemon.pid != 0; });
      };
      while (running() && clock_.Elapsed() < until) {
        HandleSignals(absl::Milliseconds(50));
        if (hurry_ && !hurried)
          for (auto it = begin; it != end; ++it)
            if (it->pid != 0) ::kill(it->pid, SIGTERM);  // a second one: at once
        hurried = hurry_;
      }
      for (auto it = begin; it != end; ++it)
        if (it->pid != 0) {
          ::kill(it->pid, SIGKILL);
          ::waitpid(it->pid, nullptr, 0);
          it->pid = 0;
        }
    };
    interrupted_ = true;
    if (daemons_.empty()) return;
    stop(daemons_.begin() + 1, daemons_.end());
    stop(daemons_.begin(), daemons_.begin() + 1);
  }

  void Greet() const {
    std::fprintf(stderr,
                 "Trainyard is up: 1 coordinator, %d workers with %d slots each\n"
                 "  gRPC     %s\n"
                 "  metrics  http://%s/metrics (token: %s)\n"
                 "  home     %s\n"
                 "Try, in another terminal:\n"
                 "  trainyard worker list\n"
                 "  trainyard submit examples/jobs/shakespeare.yaml\n"
                 "Ctrl-C drains and stops.\n",
                 options_.workers, options_.slots_per_worker, grpc_address_.c_str(),
                 http_address_.c_str(), (place_.home / "tokens" / "scraper").c_str(),
                 place_.home.c_str());
  }

  const Place& place_;
  const UpOptions& options_;
  SystemClock clock_;
  UniqueFd signals_;
  std::vector<Daemon> daemons_;  // the coordinator first
  std::string grpc_address_, http_address_;
  bool interrupted_ = false;  // Ctrl-C came
  bool hurry_ = false;        // it came twice
};

}  // namespace

int Up(const Place& place, const UpOptions& options) { return Cluster(place, options).Run(); }

}  // namespace trainyard::cli

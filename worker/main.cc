// trainyard-worker: flags, wiring, signals. The daemon itself is worker/agent.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/http/status_server.h"
#include "common/lock_owner.h"
#include "common/standard_streams.h"
#include "common/wire/channel.h"
#include "worker/agent/agent.h"
#include "worker/agent/flags.h"
#include "worker/agent/metrics.h"

namespace trainyard::worker {
namespace {

constexpr char kPortFile[] = "http-port";
constexpr int kOk = 0, kFailed = 1, kUsage = 2, kDenied = 4;

int Fail(const Status& status, int code = kFailed) {
  std::fprintf(stderr, "trainyard-worker: %s\n", MessageOf(status).c_str());
  return code;
}

// Held by the process as long as it lives: two daemons on one home would both own its trainers.
StatusOr<UniqueFd> LockHome(const std::filesystem::path& home) {
  RETURN_IF_ERROR(MakeFolders(home));
  const std::filesystem::path path = home / "lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", path.string()));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return FailedPrecondition(
        "another trainyard-worker ({}) runs on {}; stop it, or give this one its own --home and "
        "--id",
        DescribeLockOwner(path), home.string());
  RETURN_IF_ERROR(WriteLockOwner(fd.get(), path));
  return fd;
}

StatusOr<std::filesystem::path> FindTrainer(const Flags& flags) {
  std::error_code error;
  std::filesystem::path path = flags.trainer;
  if (path.empty())
    path =
        std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "trainyard-trainer";
  path = std::filesystem::absolute(path, error);
  if (::access(path.c_str(), X_OK) != 0)
    return NotFound("there is no trainer program at {}; build it, or name it with --trainer",
                    path.string());
  return path;
}

std::vector<LocalSlot> FindSlots(const Flags& flags) {
  std::vector<Gpu> gpus;
  if (flags.gpus) {
    StatusOr<std::vector<Gpu>> found = FindGpus();
    if (found.ok())
      gpus = *std::move(found);
    else if (!absl::IsNotFound(found.status()))
      spdlog::warn("no GPUs are offered: {}", MessageOf(found.status()));
  }
  return MakeSlots(flags.slots, CpuName(ReadFile("/proc/cpuinfo", 1 << 24).value_or("")), gpus);
}

// What a signal asks for; a second one is in a greater hurry.
void OnSignal(int number, const Flags& flags, int signals_so_far, Agent& agent, bool* leave) {
  spdlog::info("signal {}", number);
  if (flags.kill_on_exit || (flags.drain && signals_so_far > 0))
    agent.KillAll();
  else if (flags.drain)
    agent.Drain();
  else
    *leave = true;
}

// The HTTP port of the daemon's last life on this home: who scrapes it finds it there again. 0:
// none.
int LastPort(const std::filesystem::path& file) {
  const std::string text = ReadFile(file, 64).value_or("");
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && port > 0 && port < 65536 ? port : 0;
}

int Serve(const Flags& flags, int signal_fd) {
  static const SystemClock clock;
  const StatusOr<UniqueFd> lock = LockHome(flags.home);
  if (!lock.ok()) return Fail(lock.status());
  const auto trainer = FindTrainer(flags);
  if (!trainer.ok()) return Fail(trainer.status());
  const StatusOr<std::string> token = ReadTokenFile(flags.token_file);
  if (!token.ok()) return Fail(token.status());
  std::string scraper_token;
  if (!flags.scraper_token_file.empty()) {
    const StatusOr<std::string> read = ReadTokenFile(flags.scraper_token_file);
    if (!read.ok()) return Fail(read.status());
    scraper_token = Sha256(*read);
  }
  const auto blobs = DirectoryBlobStore::Open(flags.blobs);
  if (!blobs.ok()) return Fail(blobs.status());
  const auto channel = OpenChannel({.address = flags.coordinator,
                                    .tls = flags.tls,
                                    .insecure_i_understand = flags.insecure_i_understand});
  if (!channel.ok()) return Fail(channel.status());
  const std::vector<LocalSlot> slots = FindSlots(flags);

  // The server is there before the agent, whose reports name its address.
  absl::Mutex agent_mu;
  std::unique_ptr<Agent> agent;
  const auto numbers = [&] {
    absl::MutexLock hold(&agent_mu);
    return agent == nullptr ? AgentNumbers{} : agent->numbers();
  };
  const auto http = StatusServer::Start(
      {.address = flags.http.empty() ? "127.0.0.1:7079" : flags.http,
       .next_free_port = flags.http.empty(),
       .last_port = LastPort(flags.home / kPortFile),
       .metrics = [&] { return MetricsText(flags.id, numbers(), slots); },
       .ready = [&]() -> Status {
         if (numbers().connected) return OkStatus();
         return Unavailable("the coordinator at {} is not reached", flags.coordinator);
       },
       .may_read_metrics =
           [&](const std::string& sent) {
             return scraper_token.empty() || ConstantTimeEquals(Sha256(sent), scraper_token);
           }});
  if (!http.ok()) return Fail(http.status());
  const std::string& http_address = (*http)->address();
  const Status kept = WriteFileAtomically(flags.home / kPortFile,
                                          http_address.substr(http_address.rfind(':') + 1) + "\n");
  if (!kept.ok()) spdlog::warn("the HTTP port may be another after a restart: {}", MessageOf(kept));

  AgentOptions options;
  options.worker_id = flags.id;
  options.http_address = (*http)->address();
  options.ranks = {std::filesystem::absolute(flags.home), *trainer,
                   std::filesystem::absolute(flags.blobs), flags.bind_address, slots};
  options.token = [file = flags.token_file, last = *token]() mutable {
    if (StatusOr<std::string> now = ReadTokenFile(file); now.ok()) last = *std::move(now);
    return last;
  };
  StatusOr<std::unique_ptr<Agent>> started = Agent::Start(options, *channel, **blobs, clock);
  if (!started.ok()) return Fail(started.status());
  {
    absl::MutexLock hold(&agent_mu);
    agent = *std::move(started);
  }
  spdlog::info("worker {} with {} slots, home {}, http {}", flags.id, slots.size(),
               flags.home.string(), options.http_address);

  bool leave = false;
  std::optional<Agent::End> end;
  for (int signals = 0; !leave && !end;) {
    pollfd poll_fd{signal_fd, POLLIN, 0};
    signalfd_siginfo info;
    if (::poll(&poll_fd, 1, 100) > 0 && ::read(signal_fd, &info, sizeof info) == sizeof info)
      OnSignal(static_cast<int>(info.ssi_signo), flags, signals++, *agent, &leave);
    end = agent->WaitFor(absl::ZeroDuration());
  }
  std::unique_ptr<Agent> last;
  {
    absl::MutexLock hold(&agent_mu);
    last = std::move(agent);
  }
  if (leave) spdlog::info("leaving; trainers live on and the next worker on this home adopts them");
  if (!end) return kOk;
  spdlog::info("ended: {}", end->why);
  if (end->how == AgentEnd::kRefused || end->how == AgentEnd::kDenied)
    return Fail(PermissionDenied("the coordinator at {} refused this worker: {}", flags.coordinator,
                                 end->why),
                kDenied);
  return end->how == AgentEnd::kDrained ? kOk : kFailed;
}

}  // namespace
}  // namespace trainyard::worker

int main(int argc, char** argv) {
  using namespace trainyard;
  HoldStandardStreams();
  const auto flags = worker::ParseFlags(std::vector<std::string>(argv + 1, argv + argc));
  if (!flags.ok()) return worker::Fail(flags.status(), worker::kUsage);
  if (flags->help) {
    std::fputs(worker::Usage().c_str(), stdout);
    return worker::kOk;
  }
  spdlog::set_default_logger(spdlog::stderr_color_mt("worker"));
  spdlog::flush_on(spdlog::level::info);
  // Before any thread is there, so that all of them leave the signals to the signalfd.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  const UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  return worker::Serve(*flags, signal_fd.get());
}

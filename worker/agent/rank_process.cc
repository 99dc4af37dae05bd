#include "worker/agent/rank_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "common/machine.h"

extern char** environ;

namespace trainyard::worker {
namespace {

struct Pipe {
  UniqueFd read, write;
};

StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "cannot make a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Everything the child needs, made before the fork: between fork and exec only system calls are
// allowed, for other threads may hold any lock.
struct ChildPlan {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  const char* folder;
  int null_fd, log_fd, secret_fd, go_fd, error_fd;
  rlimit open_files;
};

[[noreturn]] void FailInChild(int error_fd, int error) {
  [[maybe_unused]] const ssize_t n = ::write(error_fd, &error, sizeof error);
  ::_exit(127);
}

void ResetSignals() {
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void RaiseOomScore() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t n = ::write(fd, "500", 3);
  ::close(fd);
}

[[noreturn]] void RunChild(const ChildPlan& plan) {
  ::setpgid(0, 0);
  ResetSignals();
  // The agent closes its end without a word when it could not write down who we are, or died.
  char go = 0;
  ssize_t n;
  do n = ::read(plan.go_fd, &go, 1);
  while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(126);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setrlimit(RLIMIT_NOFILE, &plan.open_files);
  RaiseOomScore();
  if (::chdir(plan.folder) != 0) FailInChild(plan.error_fd, errno);
  // Out of the way of 0..3 first, so that no dup2 lands on a source of a later one.
  const int error_fd = ::fcntl(plan.error_fd, F_DUPFD_CLOEXEC, 10);
  const int null_fd = ::fcntl(plan.null_fd, F_DUPFD_CLOEXEC, 10);
  const int log_fd = ::fcntl(plan.log_fd, F_DUPFD_CLOEXEC, 10);
  const int secret_fd = ::fcntl(plan.secret_fd, F_DUPFD_CLOEXEC, 10);
  if (error_fd < 0 || null_fd < 0 || log_fd < 0 || secret_fd < 0 || ::dup2(null_fd, 0) < 0 ||
      ::dup2(log_fd, 1) < 0 || ::dup2(log_fd, 2) < 0 || ::dup2(secret_fd, kSecretFd) < 0)
    FailInChild(plan.error_fd, errno);
  // Whatever is open above stays open until exec succeeds, then goes.
  ::syscall(SYS_close_range, kSecretFd + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execve(plan.arguments[0], plan.arguments.data(), plan.environment.data());
  FailInChild(error_fd, errno);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

StatusOr<UniqueFd> SecretPipe(const std::string& secret) {
  if (secret.size() > 4096) return InvalidArgument("a secret of {} bytes", secret.size());
  ASSIGN_OR_RETURN(Pipe pipe, MakePipe());
  RETURN_IF_ERROR(WriteAll(pipe.write.get(), secret, "the secret's pipe"));
  return std::move(pipe.read);
}

// Ends a child that is not to run: it leaves by itself once its go pipe is closed.
void Discard(pid_t child) {
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

StatusOr<Spawned> Spawn(const SpawnRequest& request,
                        const std::function<Status(const ProcessIdentity&)>& record) {
  std::vector<std::string> arguments = request.command;
  std::vector<std::string> environment;
  for (const auto& [name, value] : request.environment) environment.push_back(name + "=" + value);
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd log(::open(request.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!null.valid()) return ErrnoStatus(errno, "cannot open /dev/null");
  if (!log.valid()) return ErrnoStatus(errno, fmt::format("cannot open {}", request.log.string()));
  ASSIGN_OR_RETURN(const UniqueFd secret, SecretPipe(request.secret));
  ASSIGN_OR_RETURN(Pipe go, MakePipe());
  ASSIGN_OR_RETURN(Pipe error, MakePipe());

  ChildPlan plan{
      Pointers(arguments), Pointers(environment), request.folder.c_str(), null.get(), log.get(),
      secret.get(),        go.read.get(),         error.write.get(),      {}};
  ::getrlimit(RLIMIT_NOFILE, &plan.open_files);
  plan.open_files.rlim_cur =
      std::min<rlim_t>(plan.open_files.rlim_max, static_cast<rlim_t>(request.open_files_max));

  // No signal handler of the agent may run in the child before it has its own dispositions.
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::_Fork();  // without the fork handlers of libraries
  if (child == 0) {
    ::close(go.write.get());
    RunChild(plan);
  }
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return ErrnoStatus(fork_error, "cannot fork");
  ::setpgid(child, child);  // whichever of the two comes first

  Spawned spawned;
  Status status = OkStatus();
  if (StatusOr<ProcessIdentity> identity = IdentityOf(child); identity.ok())
    spawned.identity = *identity;
  else
    status = identity.status();
  spawned.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (!spawned.pidfd.valid()) status = ErrnoStatus(errno, "cannot watch the new process");
  if (status.ok()) status = record(spawned.identity);
  if (!status.ok()) {
    Discard(child);
    return status;
  }
  RETURN_IF_ERROR(WriteAll(go.write.get(), "g", "the go pipe"));
  error.write.Close();
  int exec_error = 0;
  ssize_t n;
  do n = ::read(error.read.get(), &exec_error, sizeof exec_error);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    Discard(child);
    return ErrnoStatus(exec_error, fmt::format("cannot run {}", request.command[0]));
  }
  return spawned;
}

StatusOr<std::optional<ExitStatus>> Bury(const ProcessIdentity& identity, int pidfd) {
  // The group first: until a child is reaped nobody can take its number.
  RETURN_IF_ERROR(KillGroup(identity));
  siginfo_t info = {};
  int rc;
  do
    rc = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info,
                  WEXITED | WNOHANG);
  while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno == ECHILD) return std::nullopt;
  if (rc != 0) return ErrnoStatus(errno, fmt::format("cannot reap process {}", identity.pid));
  if (info.si_pid == 0) return FailedPrecondition("process {} still runs", identity.pid);
  if (info.si_code == CLD_EXITED) return ExitStatus{info.si_status, 0};
  return ExitStatus{0, info.si_status};
}

std::map<std::string, std::string> TrainerEnvironment(int64_t threads,
                                                      const std::string& cuda_device) {
  std::map<std::string, std::string> environment;
  for (const char* name : {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
    if (const char* value = std::getenv(name)) environment[name] = value;
  for (const char* name : kKernelVariables)
    if (const char* value = std::getenv(name)) environment[name] = value;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view pair = *entry;
    const size_t equals = pair.find('=');
    if (pair.starts_with("NCCL_") && equals != std::string_view::npos)
      environment[std::string(pair.substr(0, equals))] = pair.substr(equals + 1);
  }
  environment["OMP_NUM_THREADS"] = std::to_string(threads);
  environment["CUDA_VISIBLE_DEVICES"] = cuda_device;
  return environment;
}

int64_t OutOfMemoryKills() {
  const StatusOr<std::string> text = ReadFile("/proc/vmstat", 1 << 20);
  if (!text.ok()) return -1;
  const size_t at = text->find("\noom_kill ");
  if (at == std::string::npos) return -1;
  return std::strtoll(text->c_str() + at + 10, nullptr, 10);
}

}  // namespace trainyard::worker

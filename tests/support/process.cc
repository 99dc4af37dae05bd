#include "tests/support/process.h"

#include <absl/time/clock.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace trainyard {
namespace {

int Milliseconds(absl::Time deadline) {
  return static_cast<int>(std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now())));
}

// Between fork and exec: only what may be called there.
[[noreturn]] void BecomeChild(const ProcessOptions& options, char* const* argv, int output,
                              int secret) {
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  if (secret >= 0) ::dup2(secret, 3);
  if (secret == 3) ::fcntl(3, F_SETFD, 0);
  if (options.file_bytes_max > 0) {
    const auto bytes = static_cast<rlim_t>(options.file_bytes_max);
    const rlimit limit = {bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);  // writes past the limit fail with EFBIG
  }
  ::execv(argv[0], argv);
  ::_exit(127);
}

}  // namespace

StatusOr<Process> Process::Start(const ProcessOptions& options) {
  int output[2], secret[2] = {-1, -1};
  if (::pipe2(output, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  UniqueFd read_end(output[0]), write_end(output[1]), secret_read, secret_write;
  if (!options.secret.empty()) {
    if (::pipe2(secret, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
    secret_read = UniqueFd(secret[0]);
    secret_write = UniqueFd(secret[1]);
    RETURN_IF_ERROR(WriteAll(secret_write.get(), options.secret, "secret"));
    secret_write.Close();
  }
  std::vector<char*> argv;
  for (const std::string& word : options.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "fork");
  if (pid == 0) BecomeChild(options, argv.data(), output[1], secret[0]);
  return Process(pid, std::move(read_end));
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      end_(other.end_),
      fd_(std::move(other.fd_)),
      output_(std::move(other.output_)),
      found_(other.found_) {}

Process::~Process() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::Signal(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

bool Process::ReadMore(absl::Time deadline) {
  pollfd readable = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, Milliseconds(deadline)) <= 0) return false;
  char bytes[4096];
  const ssize_t n = ::read(fd_.get(), bytes, sizeof(bytes));
  if (n <= 0) return false;
  output_.append(bytes, static_cast<size_t>(n));
  return true;
}

bool Process::ReadUntil(std::string_view text, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    const size_t at = output_.find(text, found_);
    if (at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    if (!ReadMore(deadline)) return false;
  }
}

StatusOr<int> Process::Wait(absl::Duration timeout) {
  if (pid_ == 0) return end_;
  const absl::Time deadline = absl::Now() + timeout;
  while (ReadMore(deadline)) {
  }
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, Milliseconds(deadline)) <= 0) {
    return DeadlineExceeded("process {} is still running; its output:\n{}", pid_, output_);
  }
  int status = 0;
  ::waitpid(std::exchange(pid_, 0), &status, 0);
  end_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return end_;
}

}  // namespace trainyard

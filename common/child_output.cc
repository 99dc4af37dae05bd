#include "common/child_output.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "common/clock.h"
#include "common/files.h"

extern char** environ;

namespace trainyard {
namespace {

constexpr size_t kOutputBytesMax = 16 << 20;
constexpr int kLookEveryMilliseconds = 100;

struct Child {
  pid_t pid = 0;
  UniqueFd output;
};

StatusOr<Child> StartChild(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus(errno, "a pipe");
  Child child{.pid = 0, .output = UniqueFd(ends[0])};
  const UniqueFd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  const int error = ::posix_spawn(&child.pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, fmt::format("cannot start {}", words[0]));
  return child;
}

// Until the output ends.
Status ReadOutput(const Child& child, const ChildOutputOptions& options, std::string& text) {
  const SystemClock clock;
  const absl::Duration until = clock.Elapsed() + options.time_max;
  char bytes[4096];
  while (true) {
    if (clock.Elapsed() > until) return DeadlineExceeded("it took too long");
    if (options.go_on && !options.go_on()) return Cancelled("it was not wanted any more");
    pollfd wait{.fd = child.output.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, kLookEveryMilliseconds);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t n = ::read(child.output.get(), bytes, sizeof bytes);
    if (n == 0) return OkStatus();
    if (n < 0 && errno != EINTR) return ErrnoStatus(errno, "a pipe");
    if (n > 0) text.append(bytes, static_cast<size_t>(n));
    if (text.size() > kOutputBytesMax) return ResourceExhausted("it wrote too much");
  }
}

}  // namespace

StatusOr<std::string> OutputOf(const std::vector<std::string>& words,
                               const ChildOutputOptions& options) {
  ASSIGN_OR_RETURN(const Child child, StartChild(words));
  std::string text;
  const Status read = ReadOutput(child, options, text);
  if (!read.ok()) ::kill(child.pid, SIGKILL);
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::string named = words[0];  // and the command, without what may be long
  for (size_t i = 1; i < words.size() && i < 3; ++i) named += " " + words[i];
  if (!read.ok()) return Annotate(read, named);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return Internal("{} failed", named);
  return text;
}

}  // namespace trainyard

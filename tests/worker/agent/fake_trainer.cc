// A trainer without a model, for the agent's tests: speaks the link, obeys directives, and
// misbehaves as its job's display name asks (the only free text of a spec that reaches it):
//   ""            trains: a beat and a metric point every 10 ms, until it is told to stop
//   "quick"       ends as succeeded after 5 steps
//   "flood"       writes 64 MiB to its log first
//   "deaf"        ignores every directive
//   "family"      has a child that ignores everything, its pid in the log
//   "fails"       ends as failed with reason BAD_INPUT
//   "descriptors" logs its open descriptors and environment, then trains
// Every step is a log line "step N".
#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "common/clock.h"
#include "common/files.h"
#include "common/link/exit_record.h"
#include "common/link/link_server.h"
#include "common/link/rank_spec.h"

extern char** environ;

namespace trainyard {
namespace {

std::string ReadSecret(int fd) {
  std::string secret(4096, '\0');
  const ssize_t n = ::read(fd, secret.data(), secret.size());
  secret.resize(n < 0 ? 0 : static_cast<size_t>(n));
  return secret;
}

void Say(const std::string& line) { (void)WriteAll(STDOUT_FILENO, line + "\n", "the log"); }

void SayDescriptors() {
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) != -1) Say(fmt::format("fd {}", fd));
  for (char** entry = environ; *entry != nullptr; ++entry) Say(*entry);
}

void HaveAChild() {
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  Say(fmt::format("child {}", child));
}

int End(link::LinkServer& server, const link::RankSpec& spec, link::RankStatus status,
        link::Outcome outcome) {
  const std::filesystem::path folder = spec.work_dir;
  status.job = spec.job;
  status.attempt = spec.attempt;
  status.rank = spec.rank;
  status.outcome = std::move(outcome);
  server.SetStatus(status);
  link::ExitRecord record{.wall_time = 1, .status = status, .telemetry_file = ""};
  const StatusOr<bool> unsent = server.SaveUnsentTelemetry(folder / link::kUnsentTelemetryFile);
  if (unsent.ok() && *unsent) record.telemetry_file = link::kUnsentTelemetryFile;
  (void)link::WriteExitRecord(folder / link::kExitRecordFile, record);
  return status.outcome->kind == link::OutcomeKind::kFailed ? 1 : 0;
}

int Run(const std::string& spec_path, int secret_fd) {
  const StatusOr<link::RankSpec> read = link::ReadRankSpec(spec_path);
  if (!read.ok()) {
    Say(MessageOf(read.status()));
    return 1;
  }
  const link::RankSpec& spec = *read;
  const std::string& mode = spec.spec.name;
  if (mode == "descriptors") SayDescriptors();
  if (mode == "family") HaveAChild();
  if (mode == "flood")
    for (int i = 0; i < 64; ++i) Say(std::string((1 << 20) - 1, 'x'));
  const SystemClock clock;
  auto server = link::LinkServer::Start({.socket_path = spec.socket_path,
                                         .secret = ReadSecret(secret_fd),
                                         .job = spec.job,
                                         .attempt = spec.attempt,
                                         .rank = spec.rank},
                                        clock);
  if (!server.ok()) {
    Say(MessageOf(server.status()));
    return 1;
  }
  link::RankStatus status;
  status.phase = link::Phase::kTraining;
  for (int64_t step = 1;; ++step) {
    status.step = status.beat = step;
    status.listen_address = "127.0.0.1:1";
    (*server)->SetStatus(status);
    (*server)->Publish(link::MetricPoints{{{step, "loss", 1.0 / static_cast<double>(step), 1}}});
    Say(fmt::format("step {}", step));
    if (mode == "fails")
      return End(**server, spec, status,
                 {link::OutcomeKind::kFailed, "INVALID_ARGUMENT", "BAD_INPUT", "the data is bad"});
    if (mode == "quick" && step == 5)
      return End(**server, spec, status, {link::OutcomeKind::kSucceeded, "OK", "", ""});
    const auto stops = [](const link::Directive& d) { return d.stop != link::StopMode::kNone; };
    const bool told = (*server)->WaitForDirective(stops, absl::Milliseconds(10)).ok();
    if (mode == "deaf") {
      if (told) std::this_thread::sleep_for(std::chrono::milliseconds(10));  // it spins else
      continue;
    }
    if (told)
      return End(**server, spec, status, {link::OutcomeKind::kStopped, "OK", "", "told to"});
    if ((*server)->SinceAgent() > absl::Seconds(20)) return 2;  // left behind by a failed test
  }
}

}  // namespace
}  // namespace trainyard

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::off);  // the log is the test's
  std::string spec;
  int secret_fd = -1;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string(argv[i]) == "--spec") spec = argv[i + 1];
    if (std::string(argv[i]) == "--secret-fd") secret_fd = std::atoi(argv[i + 1]);
  }
  return trainyard::Run(spec, secret_fd);
}

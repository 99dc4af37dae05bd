// Ranks that are processes, for tests: forks one per rank, each connected to the others.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/require.h"
#include "worker/parallel/connect.h"

namespace trainyard::worker {

// What a rank's process had to say. `signal`: what killed it, or 0.
struct RankResult {
  std::string text;
  int signal = 0;
};

class RankProcesses {
 public:
  // The body's result is the process's text; it runs in the child.
  using Body = std::function<std::string(int rank, Collective& collective)>;

  RankProcesses(int ranks, Transport transport, const Body& body) {
    std::vector<PeerListener> listeners;
    std::vector<std::string> addresses;
    for (int rank = 0; rank < ranks; ++rank) {
      auto listener = PeerListener::Open();
      REQUIRE(listener.ok());
      addresses.push_back(listener->address());
      listeners.push_back(*std::move(listener));
    }
    const std::string secret = RandomHex(32);
    for (int rank = 0; rank < ranks; ++rank) {
      int ends[2];
      REQUIRE(::pipe(ends) == 0);
      const pid_t pid = ::fork();
      REQUIRE(pid >= 0);
      if (pid == 0)
        Child(listeners[static_cast<size_t>(rank)], addresses, rank, secret, transport, ends[1],
              body);
      ::close(ends[1]);
      pids_.push_back(pid);
      outputs_.emplace_back(ends[0]);
    }
  }
  // Kills whoever was not joined.
  ~RankProcesses() {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
  RankProcesses(const RankProcesses&) = delete;
  RankProcesses& operator=(const RankProcesses&) = delete;

  pid_t pid(int rank) const { return pids_[static_cast<size_t>(rank)]; }

  // One rank's text, once it has ended its output.
  std::string Text(int rank) {
    std::string text;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::read(outputs_[static_cast<size_t>(rank)].get(), buffer, sizeof(buffer))) > 0)
      text.append(buffer, static_cast<size_t>(n));
    return text;
  }
  std::vector<RankResult> Join() {
    std::vector<RankResult> results;
    for (size_t rank = 0; rank < pids_.size(); ++rank) {
      RankResult result{Text(static_cast<int>(rank))};
      int status = 0;
      ::waitpid(pids_[rank], &status, 0);
      result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      results.push_back(std::move(result));
    }
    pids_.clear();
    return results;
  }

 private:
  [[noreturn]] static void Child(const PeerListener& listener,
                                 const std::vector<std::string>& addresses, int rank,
                                 const std::string& secret, Transport transport, int output,
                                 const Body& body) {
    std::string text;
    {
      auto collective =
          Connect(listener, addresses, rank, secret, absl::Seconds(20), {}, transport);
      text = collective.ok() ? body(rank, **collective) : collective.status().ToString();
    }
    if (!WriteAll(output, text, "output").ok()) ::_exit(1);
    ::_exit(0);
  }

  std::vector<pid_t> pids_;
  std::vector<UniqueFd> outputs_;
};

}  // namespace trainyard::worker

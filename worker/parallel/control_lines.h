// What ranks of several hosts tell each other beside their calls: that the collective has ended and
// why, or that one leaves in good order. On connections of their own, which are idle otherwise, so
// that no byte of a call is in the way, the end of one tells at once that a process has died, and
// keep-alive tells it of a host.
//
// A message is 16 bytes: magic, kind, and an AbortRecord or a number of calls.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "common/files.h"
#include "common/thread.h"
#include "worker/parallel/call.h"

namespace trainyard::worker {

class ControlLines {
 public:
  // `connections`: non-blocking sockets by rank; this rank's own is invalid. `on_news` is called by
  // any thread after each change of what is below.
  ControlLines(std::vector<UniqueFd> connections, int rank, std::function<void()> on_news);
  // Says nothing to the peers but by the ends of the connections; see Leave.
  ~ControlLines();
  ControlLines(const ControlLines&) = delete;
  ControlLines& operator=(const ControlLines&) = delete;

  // Ends the collective for all ranks, unless it has ended: the first record counts. Any thread.
  void Abort(const AbortRecord& record);
  // Tells the peers that this rank leaves after so many calls, and that its end means no more.
  void Leave(int64_t calls);

  // An AbortRecord, or 0. Any thread.
  uint64_t abort() const { return abort_.load(); }
  // How many calls the peer had begun when it left; -1: it is here. Any thread.
  int64_t left_after(int peer) const { return left_after_[static_cast<size_t>(peer)].load(); }

 private:
  struct Message;

  void Tell(const Message& message);
  void Watch();
  // Whether the connection goes on.
  bool Read(size_t peer);
  bool Take(int peer, const Message& message);

  const int rank_;
  const std::function<void()> on_news_;
  const std::vector<UniqueFd> connections_;
  const UniqueFd stop_;  // an eventfd
  std::atomic<uint64_t> abort_{0};
  std::atomic<bool> leaving_{false};
  std::vector<std::atomic<int64_t>> left_after_;
  absl::Mutex sending_;                         // one message at a time
  std::vector<std::vector<std::byte>> unread_;  // by rank: the beginning of a message
  Thread watcher_;                              // last: it uses the rest
};

}  // namespace trainyard::worker

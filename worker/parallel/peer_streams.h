// Bytes to and from all peers at once: one poll loop in the caller's thread sends and receives
// whatever can be without waiting, so that no peer holds up another and a link is used both ways.
#pragma once

#include <absl/time/time.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/files.h"

namespace trainyard::worker {

// What is to be moved, in stream order: both ends must list the same sizes.
struct Traffic {
  struct Piece {
    std::byte* data = nullptr;
    size_t bytes = 0;
    // Not before this many chunks have been summed.
    int64_t after = 0;
    // Received: the peer's part of its next chunk.
    bool is_part = false;
  };
  explicit Traffic(size_t peers) : to(peers), from(peers) {}

  std::vector<std::vector<Piece>> to, from;  // by rank; this rank's own are empty
  int64_t chunks = 0;
  // Called once for each chunk, in order, when the parts of all peers are here.
  std::function<void(int64_t chunk)> sum;
};

class PeerStreams {
 public:
  // `connections`: non-blocking sockets by rank; this rank's own is invalid.
  explicit PeerStreams(std::vector<UniqueFd> connections);

  enum class End { kDone, kLate, kStopped, kBroken };
  struct Result {
    End end = End::kDone;
    int peer = 0;          // kLate: the first that is not done; kBroken: the one that is gone
    std::string why = {};  // kBroken
  };
  // Moves all of it. `stop` is asked after every Wake, and at least every 50 ms; once it is true
  // the streams are as good as lost, as they are after any end but kDone. `deadline` is Elapsed
  // time.
  Result Run(const Traffic& traffic, absl::Duration deadline, const std::function<bool()>& stop);
  // Lets Run ask at once. Any thread.
  void Wake();

  size_t size() const { return connections_.size(); }
  // The connections back.
  std::vector<UniqueFd> Take() { return std::move(connections_); }

 private:
  std::vector<UniqueFd> connections_;
  UniqueFd wake_;  // an eventfd
};

}  // namespace trainyard::worker

// How the ranks of an attempt find each other: each listens first, the addresses are spread by the
// coordinator, then every rank dials those before it in the list and accepts those after it.
#pragma once

#include <absl/time/time.h>

#include <functional>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/status.h"

namespace trainyard::worker {

// A TCP socket that listens for peers.
class PeerListener {
 public:
  // Binds a free port of `host`, a numeric IPv4 or IPv6 address.
  static StatusOr<PeerListener> Open(const std::string& host = "127.0.0.1");
  // "127.0.0.1:40123" or "[::1]:40123", for the peers.
  const std::string& address() const { return address_; }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string address_;
};

struct Meeting {
  std::vector<UniqueFd> connections;  // by rank; this rank's own is invalid
  std::string note;                   // what the first rank told this one
};

// Returns once every peer is connected and has proved `secret` (see handshake.h). `note` is what
// this rank, if it is the first, tells the others (at most Handshake::kNoteBytes).
// Strangers on either side are dropped: each connection has 5 seconds to prove itself, at most 64
// wait to do so (the oldest makes room), and the true peer is dialled again.
// `give_up` is asked on the caller's thread at least every 100 ms, also before the first wait: once
// it is true, nobody is waited for any more. Empty: only the timeout ends the wait.
//   Cancelled         given up; names the peers that had not come
//   DeadlineExceeded  names the peers that did not come, and the last reason
//   InvalidArgument   a malformed address, or peers that disagree about the list of ranks
StatusOr<Meeting> Meet(const PeerListener& listener, const std::vector<std::string>& addresses,
                       int rank, const std::string& secret, const std::string& note,
                       absl::Duration timeout, const std::function<bool()>& give_up = {});

}  // namespace trainyard::worker

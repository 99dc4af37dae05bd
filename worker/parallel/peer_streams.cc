#include "worker/parallel/peer_streams.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "common/clock.h"
#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr absl::Duration kAskEvery = absl::Milliseconds(50);
// At most so much one way before the other peers, the sums and `stop` have their turn.
constexpr size_t kTurnBytes = size_t{1} << 20;

// How far one direction of one connection is.
struct Cursor {
  size_t piece = 0;
  size_t offset = 0;   // bytes of the piece
  int64_t chunks = 0;  // parts received
};

// One Run: everything that it knows.
class Mover {
 public:
  using Result = PeerStreams::Result;
  using End = PeerStreams::End;

  Mover(const std::vector<UniqueFd>& connections, int wake, const Traffic& traffic)
      : connections_(connections),
        wake_(wake),
        traffic_(traffic),
        sent_(connections.size()),
        received_(connections.size()) {}

  Result Run(absl::Duration deadline, const std::function<bool()>& stop) {
    while (true) {
      bool moved = false;
      for (size_t peer = 0; peer < connections_.size(); ++peer) {
        if (!connections_[peer].valid()) continue;
        if (const auto broken = Send(peer, &moved)) return *broken;
        if (const auto broken = Receive(peer, &moved)) return *broken;
      }
      moved |= Sum();
      const std::optional<size_t> waits_for = Unfinished();
      if (!waits_for.has_value()) return {};
      if (stop()) return {.end = End::kStopped};
      const absl::Duration left = deadline - clock_.Elapsed();
      if (left <= absl::ZeroDuration())
        return {.end = End::kLate, .peer = static_cast<int>(*waits_for)};
      if (!moved) Wait(std::min(left, kAskEvery));
    }
  }

 private:
  using Pieces = std::vector<Traffic::Piece>;

  // The next piece that may move now, or null.
  const Traffic::Piece* Ready(const Pieces& pieces, const Cursor& at) const {
    if (at.piece == pieces.size() || pieces[at.piece].after > summed_) return nullptr;
    return &pieces[at.piece];
  }

  std::optional<Result> Send(size_t peer, bool* moved) {
    Cursor& at = sent_[peer];
    size_t left = kTurnBytes;
    while (const Traffic::Piece* piece = left > 0 ? Ready(traffic_.to[peer], at) : nullptr) {
      if (at.offset < piece->bytes) {
        const ssize_t n = ::send(connections_[peer].get(), piece->data + at.offset,
                                 std::min(piece->bytes - at.offset, left), MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
        if (n < 0) return Broken(peer, std::strerror(errno));
        at.offset += static_cast<size_t>(n);
        left -= static_cast<size_t>(n);
        *moved = true;
      }
      if (at.offset == piece->bytes) Next(&at);
    }
    return std::nullopt;
  }

  std::optional<Result> Receive(size_t peer, bool* moved) {
    Cursor& at = received_[peer];
    size_t left = kTurnBytes;
    while (const Traffic::Piece* piece = left > 0 ? Ready(traffic_.from[peer], at) : nullptr) {
      if (at.offset < piece->bytes) {
        const ssize_t n = ::recv(connections_[peer].get(), piece->data + at.offset,
                                 std::min(piece->bytes - at.offset, left), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
        if (n < 0) return Broken(peer, std::strerror(errno));
        if (n == 0) return Broken(peer, "it closed the connection");
        at.offset += static_cast<size_t>(n);
        left -= static_cast<size_t>(n);
        *moved = true;
      }
      if (at.offset < piece->bytes) continue;
      if (piece->is_part) ++at.chunks;
      Next(&at);
      *moved = true;
    }
    return std::nullopt;
  }

  static void Next(Cursor* at) {
    ++at->piece;
    at->offset = 0;
  }

  static Result Broken(size_t peer, const char* why) {
    return {.end = End::kBroken, .peer = static_cast<int>(peer), .why = why};
  }

  // Sums the chunks that are complete; whether there was one.
  bool Sum() {
    const int64_t before = summed_;
    while (summed_ < traffic_.chunks && IsComplete()) traffic_.sum(summed_++);
    return summed_ != before;
  }
  bool IsComplete() const {
    for (size_t peer = 0; peer < connections_.size(); ++peer)
      if (connections_[peer].valid() && received_[peer].chunks <= summed_) return false;
    return true;
  }

  // The first peer that still owes bytes; else the first that does not take its own.
  std::optional<size_t> Unfinished() const {
    for (size_t peer = 0; peer < connections_.size(); ++peer)
      if (received_[peer].piece < traffic_.from[peer].size()) return peer;
    for (size_t peer = 0; peer < connections_.size(); ++peer)
      if (sent_[peer].piece < traffic_.to[peer].size()) return peer;
    return std::nullopt;
  }

  void Wait(absl::Duration limit) {
    polled_.assign(1, {wake_, POLLIN, 0});
    for (size_t peer = 0; peer < connections_.size(); ++peer) {
      short events = 0;
      if (Ready(traffic_.to[peer], sent_[peer]) != nullptr) events |= POLLOUT;
      if (Ready(traffic_.from[peer], received_[peer]) != nullptr) events |= POLLIN;
      if (events != 0) polled_.push_back({connections_[peer].get(), events, 0});
    }
    const timespec timeout = absl::ToTimespec(limit);
    const int ready = ::ppoll(polled_.data(), polled_.size(), &timeout, nullptr);
    REQUIRE(ready >= 0 || errno == EINTR);
    uint64_t wakes = 0;
    if (polled_[0].revents != 0) REQUIRE(::read(wake_, &wakes, sizeof(wakes)) == sizeof(wakes));
  }

  const std::vector<UniqueFd>& connections_;
  const int wake_;
  const Traffic& traffic_;
  const SystemClock clock_;
  std::vector<Cursor> sent_, received_;  // by rank
  int64_t summed_ = 0;                   // chunks
  std::vector<pollfd> polled_;
};

}  // namespace

PeerStreams::PeerStreams(std::vector<UniqueFd> connections)
    : connections_(std::move(connections)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  REQUIRE(wake_.valid());
}

PeerStreams::Result PeerStreams::Run(const Traffic& traffic, absl::Duration deadline,
                                     const std::function<bool()>& stop) {
  REQUIRE(traffic.to.size() == size() && traffic.from.size() == size());
  return Mover(connections_, wake_.get(), traffic).Run(deadline, stop);
}

void PeerStreams::Wake() {
  const uint64_t one = 1;
  // EAGAIN: it is awake already.
  REQUIRE(::write(wake_.get(), &one, sizeof(one)) == sizeof(one) || errno == EAGAIN);
}

}  // namespace trainyard::worker

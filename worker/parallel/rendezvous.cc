#include "worker/parallel/rendezvous.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <list>
#include <set>

#include "common/clock.h"
#include "common/require.h"
#include "worker/parallel/handshake.h"
#include "worker/parallel/socket_address.h"

namespace trainyard::worker {
namespace {

constexpr absl::Duration kProofTime = absl::Seconds(5);
constexpr absl::Duration kRedialAfter = absl::Milliseconds(50);
constexpr absl::Duration kAskEvery = absl::Milliseconds(100);  // whether to give up
constexpr size_t kMaxPending = 64;

StatusOr<UniqueFd> NewSocket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "cannot make a socket");
  return fd;
}

// A connection that has not proved itself yet.
struct Pending {
  UniqueFd fd;
  Handshake handshake;
  absl::Duration deadline;
  bool dialed = false;
  std::string to_send = {};
  std::string received = {};
};

// One round of meetings: all state of Meet, driven by one poll loop.
class Rendezvous {
 public:
  Rendezvous(const PeerListener& listener, int rank, const std::string& secret,
             const std::string& note, absl::Duration timeout, const std::function<bool()>& give_up)
      : listener_(listener),
        rank_(rank),
        secret_(secret),
        note_(note),
        give_up_(give_up),
        deadline_(clock_.Elapsed() + timeout) {}

  StatusOr<Meeting> Run(const std::vector<std::string>& addresses) {
    for (const std::string& address : addresses) {
      ASSIGN_OR_RETURN(const SocketAddress parsed, ParseSocketAddress(address));
      peers_.push_back({parsed, clock_.Elapsed(), "it did not call"});
    }
    meeting_.connections.resize(peers_.size());
    connected_ = 1;  // this rank itself
    while (connected_ < peers_.size()) {
      if (give_up_ && give_up_())
        return Cancelled("rank {} of {} waits no longer for {}", rank_, ranks(), Missing());
      if (clock_.Elapsed() >= deadline_)
        return DeadlineExceeded("rank {} of {} did not meet {} in time", rank_, ranks(), Missing());
      RETURN_IF_ERROR(DialPeers());
      RETURN_IF_ERROR(PollOnce());
    }
    for (const UniqueFd& fd : meeting_.connections) SendAtOnce(fd.get());
    return std::move(meeting_);
  }

 private:
  struct Peer {
    SocketAddress address;
    absl::Duration dial_at;  // for peers before this rank
    std::string trouble;     // the last reason it is not connected
    bool dialing = false;
  };

  int ranks() const { return static_cast<int>(peers_.size()); }
  bool Connected(int peer) const { return meeting_.connections[static_cast<size_t>(peer)].valid(); }

  // Who has not come, and why.
  std::string Missing() const {
    std::string who;
    for (int peer = 0; peer < ranks(); ++peer) {
      if (peer == rank_ || Connected(peer)) continue;
      const Peer& missing = peers_[static_cast<size_t>(peer)];
      who += fmt::format("{}rank {} at {} ({})", who.empty() ? "" : ", ", peer,
                         FormatSocketAddress(missing.address), missing.trouble);
    }
    return who;
  }

  // Starts a connection to each earlier peer that is due.
  Status DialPeers() {
    for (int peer = 0; peer < rank_; ++peer) {
      Peer& to = peers_[static_cast<size_t>(peer)];
      if (Connected(peer) || to.dialing || clock_.Elapsed() < to.dial_at) continue;
      ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(to.address.storage.ss_family));
      if (::connect(fd.get(), to.address.get(), to.address.length) != 0 && errno != EINPROGRESS) {
        Redial(peer, ErrnoStatus(errno, "connect"));
        continue;
      }
      to.dialing = true;
      pending_.push_back({std::move(fd), Handshake::Dial(secret_, rank_, peer, ranks()),
                          clock_.Elapsed() + kProofTime, /*dialed=*/true});
      pending_.back().to_send = pending_.back().handshake.TakeOutput();
    }
    return OkStatus();
  }

  void Redial(int peer, const Status& why) {
    Peer& to = peers_[static_cast<size_t>(peer)];
    to.dialing = false;
    to.dial_at = clock_.Elapsed() + kRedialAfter;
    to.trouble = MessageOf(why);
  }

  // Waits for the next thing to happen: a byte, a new connection, a deadline, a time to dial or to
  // ask whether to give up.
  Status PollOnce() {
    std::vector<pollfd> polled = {{listener_.fd(), POLLIN, 0}};
    absl::Duration wake_at = std::min(deadline_, clock_.Elapsed() + kAskEvery);
    for (const Pending& pending : pending_) {
      const short events = pending.to_send.empty() ? POLLIN : POLLIN | POLLOUT;
      polled.push_back({pending.fd.get(), events, 0});
      wake_at = std::min(wake_at, pending.deadline);
    }
    for (int peer = 0; peer < rank_; ++peer) {
      const Peer& to = peers_[static_cast<size_t>(peer)];
      if (!Connected(peer) && !to.dialing) wake_at = std::min(wake_at, to.dial_at);
    }
    const int64_t wait_ms = std::clamp<int64_t>(
        absl::ToInt64Milliseconds(wake_at - clock_.Elapsed()) + 1, 0, int64_t{1000});
    if (::poll(polled.data(), polled.size(), static_cast<int>(wait_ms)) < 0 && errno != EINTR)
      return ErrnoStatus(errno, "poll");
    size_t i = 1;
    for (auto pending = pending_.begin(); pending != pending_.end(); ++i) {
      const auto current = pending++;
      RETURN_IF_ERROR(Advance(current, polled[i].revents != 0));
    }
    if (polled[0].revents != 0) RETURN_IF_ERROR(AcceptAll());
    return OkStatus();
  }

  Status AcceptAll() {
    while (true) {
      UniqueFd fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd.valid()) return OkStatus();  // nobody left, or one that has gone already
      const auto accepted = [](const Pending& pending) { return !pending.dialed; };
      if (std::count_if(pending_.begin(), pending_.end(), accepted) >=
          static_cast<ptrdiff_t>(kMaxPending))
        pending_.erase(std::find_if(pending_.begin(), pending_.end(), accepted));
      pending_.push_back({std::move(fd), Handshake::Accept(secret_, rank_, ranks(), note_),
                          clock_.Elapsed() + kProofTime});
    }
  }

  // Moves one connection on; it leaves `pending_` when it is proved or hopeless. An error is one
  // that ends the whole meeting.
  Status Advance(std::list<Pending>::iterator pending, bool ready) {
    Status status = ready ? Exchange(&*pending) : OkStatus();
    if (status.ok() && pending->handshake.done() && pending->to_send.empty()) {
      Pending proved = std::move(*pending);
      pending_.erase(pending);
      return Keep(std::move(proved));
    }
    if (status.ok() && clock_.Elapsed() >= pending->deadline)
      status =
          DeadlineExceeded("it did not prove itself within {}", absl::FormatDuration(kProofTime));
    if (status.ok()) return OkStatus();
    if (pending->dialed) Redial(pending->handshake.peer(), status);
    pending_.erase(pending);
    return status.code() == StatusCode::kInvalidArgument ? status : OkStatus();
  }

  // Sends and receives what can be without waiting. Never reads past the handshake's end.
  static Status Exchange(Pending* pending) {
    while (true) {
      while (!pending->to_send.empty()) {
        const ssize_t n = ::send(pending->fd.get(), pending->to_send.data(),
                                 pending->to_send.size(), MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return OkStatus();
        if (n < 0) return ErrnoStatus(errno, "connection");
        pending->to_send.erase(0, static_cast<size_t>(n));
      }
      const size_t wanted = pending->handshake.wanted();
      if (wanted == 0) return OkStatus();
      char buffer[256];
      const size_t room = std::min(sizeof(buffer), wanted - pending->received.size());
      const ssize_t n = ::recv(pending->fd.get(), buffer, room, 0);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return OkStatus();
      if (n < 0) return ErrnoStatus(errno, "connection");
      if (n == 0) return Unavailable("it closed the connection");
      pending->received.append(buffer, static_cast<size_t>(n));
      if (pending->received.size() < wanted) continue;
      RETURN_IF_ERROR(pending->handshake.Receive(std::exchange(pending->received, {})));
      pending->to_send += pending->handshake.TakeOutput();
    }
  }

  Status Keep(Pending proved) {
    const int peer = proved.handshake.peer();
    if (!proved.dialed && peer < rank_)
      return InvalidArgument("rank {} called rank {}: only later ranks call earlier ones", peer,
                             rank_);
    if (Connected(peer)) return InvalidArgument("two processes take themselves for rank {}", peer);
    if (proved.dialed && peer == 0) meeting_.note = proved.handshake.note();
    meeting_.connections[static_cast<size_t>(peer)] = std::move(proved.fd);
    ++connected_;
    return OkStatus();
  }

  static void SendAtOnce(int fd) {
    const int one = 1;
    if (fd >= 0) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }

  const PeerListener& listener_;
  const int rank_;
  const std::string& secret_;
  const std::string& note_;
  const std::function<bool()>& give_up_;
  const SystemClock clock_;
  const absl::Duration deadline_;
  std::vector<Peer> peers_;
  std::list<Pending> pending_;
  Meeting meeting_;
  size_t connected_ = 0;
};

}  // namespace

StatusOr<PeerListener> PeerListener::Open(const std::string& host) {
  ASSIGN_OR_RETURN(SocketAddress address, MakeSocketAddress(host, 0));
  PeerListener listener;
  ASSIGN_OR_RETURN(listener.fd_, NewSocket(address.storage.ss_family));
  if (::bind(listener.fd_.get(), address.get(), address.length) != 0 ||
      ::listen(listener.fd_.get(), 128) != 0)
    return ErrnoStatus(errno, fmt::format("cannot listen on {}", host));
  address.length = sizeof(address.storage);
  if (::getsockname(listener.fd_.get(), reinterpret_cast<sockaddr*>(&address.storage),
                    &address.length) != 0)
    return ErrnoStatus(errno, fmt::format("cannot listen on {}", host));
  listener.address_ = FormatSocketAddress(address);
  return listener;
}

StatusOr<Meeting> Meet(const PeerListener& listener, const std::vector<std::string>& addresses,
                       int rank, const std::string& secret, const std::string& note,
                       absl::Duration timeout, const std::function<bool()>& give_up) {
  if (rank < 0 || rank >= static_cast<int>(addresses.size()))
    return InvalidArgument("rank {} is not in a list of {} ranks", rank, addresses.size());
  if (secret.size() < 16)
    return InvalidArgument("the attempt's secret has {} characters, at least 16 are needed",
                           secret.size());
  return Rendezvous(listener, rank, secret, note, timeout, give_up).Run(addresses);
}

}  // namespace trainyard::worker

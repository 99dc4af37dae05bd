#include "worker/parallel/control_lines.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/require.h"

namespace trainyard::worker {
namespace {

constexpr uint32_t kMagic = 0x4C545254;  // "TRTL"
enum Kind : uint32_t { kAbort = 1, kLeave = 2 };

// A host that is gone, and not just silent, is noticed after 5 s + 4 x 5 s. On a Unix socket (in
// tests) these mean nothing.
void KeepAlive(int fd) {
  const auto set = [fd](int level, int name, int value) {
    ::setsockopt(fd, level, name, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 25'000);  // the same while a message is on its way
}

}  // namespace

struct ControlLines::Message {
  uint32_t magic = kMagic;
  uint32_t kind = 0;
  uint64_t word = 0;
};

ControlLines::ControlLines(std::vector<UniqueFd> connections, int rank,
                           std::function<void()> on_news)
    : rank_(rank),
      on_news_(std::move(on_news)),
      connections_(std::move(connections)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      left_after_(connections_.size()),
      unread_(connections_.size()) {
  REQUIRE(stop_.valid());
  for (std::atomic<int64_t>& calls : left_after_) calls.store(-1);
  for (const UniqueFd& connection : connections_)
    if (connection.valid()) KeepAlive(connection.get());
  watcher_ = Thread("peer-watch", [this] { Watch(); });
}

ControlLines::~ControlLines() {
  const uint64_t one = 1;
  REQUIRE(::write(stop_.get(), &one, sizeof(one)) == sizeof(one));
  watcher_.Join();
}

void ControlLines::Abort(const AbortRecord& record) {
  uint64_t none = 0;
  if (!abort_.compare_exchange_strong(none, record.Pack())) return;
  on_news_();
  Tell({.kind = kAbort, .word = record.Pack()});
}

void ControlLines::Leave(int64_t calls) {
  leaving_.store(true);
  Tell({.kind = kLeave, .word = static_cast<uint64_t>(calls)});
}

void ControlLines::Tell(const Message& message) {
  const absl::MutexLock lock(&sending_);
  for (const UniqueFd& connection : connections_) {
    if (!connection.valid()) continue;
    // There is room: a rank says two things in its life. Whom it does not reach sees the end of the
    // connection instead.
    (void)::send(connection.get(), &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

void ControlLines::Watch() {
  std::vector<pollfd> watched = {{stop_.get(), POLLIN, 0}};
  for (const UniqueFd& connection : connections_) watched.push_back({connection.get(), POLLIN, 0});
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      REQUIRE(errno == EINTR);
      continue;
    }
    if (watched[0].revents != 0) return;
    for (size_t peer = 0; peer < connections_.size(); ++peer)
      if (watched[peer + 1].revents != 0 && !Read(peer)) watched[peer + 1].fd = -1;
  }
}

bool ControlLines::Read(size_t peer) {
  std::vector<std::byte>& unread = unread_[peer];
  const size_t had = unread.size();
  unread.resize(sizeof(Message));
  const ssize_t n =
      ::recv(connections_[peer].get(), unread.data() + had, sizeof(Message) - had, MSG_DONTWAIT);
  const bool nothing_yet = n < 0 && (errno == EAGAIN || errno == EINTR);
  unread.resize(had + static_cast<size_t>(n > 0 ? n : 0));
  if (nothing_yet) return true;
  const auto rank = static_cast<int>(peer);
  if (n <= 0) {
    // A peer that left may have torn its own goodbye down with ours unread: only then are we
    // leaving.
    if (left_after(rank) < 0 && !leaving_.load()) Abort({kGone, rank_, rank, 0});
    return false;
  }
  if (unread.size() < sizeof(Message)) return true;
  Message message;
  std::memcpy(&message, unread.data(), sizeof(message));
  unread.clear();
  if (Take(rank, message)) return true;
  Abort({kGarbled, rank_, rank, 0});
  return false;
}

bool ControlLines::Take(int peer, const Message& message) {
  if (message.magic != kMagic) return false;
  if (message.kind == kLeave) {
    const auto calls = static_cast<int64_t>(message.word);
    if (calls < 0) return false;
    left_after_[static_cast<size_t>(peer)].store(calls);
    on_news_();
    return true;
  }
  const AbortRecord record = AbortRecord::Unpack(message.word);
  if (message.kind != kAbort || record.kind < kTold || record.kind > kGarbled ||
      record.reporter != peer || record.culprit >= static_cast<int>(connections_.size()))
    return false;
  uint64_t none = 0;
  abort_.compare_exchange_strong(none, message.word);
  on_news_();
  return true;
}

}  // namespace trainyard::worker

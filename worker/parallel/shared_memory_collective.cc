#include "worker/parallel/shared_memory_collective.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "common/require.h"
#include "worker/parallel/call.h"
#include "worker/parallel/cut.h"
#include "worker/parallel/stream_copy.h"
#include "worker/parallel/sum.h"

namespace trainyard::worker {
namespace {

// How long a sleeper may overlook an Abort that fell between its look and its sleep.
constexpr absl::Duration kSleepSlice = absl::Milliseconds(20);

bool Reached(const Counter& counter, uint32_t target) {
  // Counters wrap; ranks are never half the range apart.
  return static_cast<int32_t>(counter.value.load() - target) >= 0;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void FutexWait(const std::atomic<uint32_t>* word, uint32_t seen, absl::Duration timeout) {
  const timespec limit = absl::ToTimespec(timeout);
  ::syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}
void FutexWakeAll(std::atomic<uint32_t>* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

template <class T>
void StreamElements(const T* from, int64_t count, T* to) {
  StreamCopy(from, to, count * static_cast<int64_t>(sizeof(T)));
}

int SpinsFor(int ranks) {
  // Spinning only pays while every rank has a core to itself.
  return std::thread::hardware_concurrency() >= static_cast<unsigned>(ranks) ? 400 : 0;
}

}  // namespace

SharedMemoryCollective::SharedMemoryCollective(std::shared_ptr<Segment> segment, int rank, int size,
                                               std::vector<UniqueFd> connections)
    : segment_(std::move(segment)),
      rank_(rank),
      size_(size),
      spins_(SpinsFor(size)),
      connections_(std::move(connections)),
      stop_watching_(::eventfd(0, EFD_CLOEXEC)) {
  REQUIRE(rank >= 0 && rank < size && size <= kMaxRanksPerHost);
  REQUIRE(stop_watching_.valid());
  if (!connections_.empty()) watcher_ = Thread("peer-watch", [this] { WatchPeers(); });
}

SharedMemoryCollective::~SharedMemoryCollective() {
  segment_->rank(rank_).left.store(1);
  WakeEverybody();
  const uint64_t one = 1;
  REQUIRE(::write(stop_watching_.get(), &one, sizeof(one)) == sizeof(one));
  watcher_.Join();
}

// ---- Calls

Status SharedMemoryCollective::AllReduceSum(std::span<float> values, absl::Duration timeout) {
  return ReduceAll(values, kFloat32, timeout);
}
Status SharedMemoryCollective::AllReduceSum(std::span<double> values, absl::Duration timeout) {
  return ReduceAll(values, kFloat64, timeout);
}

template <class T>
Status SharedMemoryCollective::ReduceAll(std::span<T> values, uint32_t element,
                                         absl::Duration timeout) {
  const auto count = static_cast<int64_t>(values.size());
  RETURN_IF_ERROR(Begin({kAllReduce, element, count, 0}, timeout));
  if (size_ == 1) return OkStatus();
  const Cut cut(count, size_, sizeof(T), kAreaBytes);
  const auto area = [&](std::byte* bytes, int owner) {
    return reinterpret_cast<T*>(bytes) + owner * cut.capacity;
  };
  Steps steps{.chunks = cut.chunks(), .fill = {}, .reduce = {}, .drain = {}};
  steps.fill = [&](int64_t c, uint32_t slot) {
    for (int owner = 0; owner < size_; ++owner) {
      const Share share = cut.share(c, owner);
      if (owner != rank_)
        StreamElements(values.data() + share.begin, share.count,
                       area(segment_->in_area(rank_, slot), owner));
    }
  };
  steps.reduce = [&](int64_t c, uint32_t slot) {
    const Share share = cut.share(c, rank_);
    std::array<const T*, kMaxRanksPerHost> sources;
    for (int peer = 0; peer < size_; ++peer)
      sources[static_cast<size_t>(peer)] =
          peer == rank_ ? values.data() + share.begin : area(segment_->in_area(peer, slot), rank_);
    SumInOrder(std::span(sources).first(static_cast<size_t>(size_)), values.data() + share.begin,
               area(segment_->out_area(rank_, slot), rank_), share.count);
  };
  steps.drain = [&](int64_t c, uint32_t slot) {
    for (int owner = 0; owner < size_; ++owner) {
      const Share share = cut.share(c, owner);
      if (owner != rank_)
        StreamElements<T>(area(segment_->out_area(owner, slot), owner), share.count,
                          values.data() + share.begin);
    }
  };
  return RunSteps(steps);
}

Status SharedMemoryCollective::ReduceScatterSum(std::span<const float> values,
                                                std::span<float> piece, absl::Duration timeout) {
  if (values.size() != piece.size() * static_cast<size_t>(size_))
    return Fail(InvalidArgument("reduce-scatter of {} values over {} ranks into a piece of {}",
                                values.size(), size_, piece.size()),
                rank_);
  const auto count = static_cast<int64_t>(piece.size());
  RETURN_IF_ERROR(Begin({kReduceScatter, kFloat32, count * size_, 0}, timeout));
  // Chunk c holds the c-th part of every rank's piece.
  const int64_t part = kAreaBytes / size_ / static_cast<int64_t>(sizeof(float));
  const auto length = [&](int64_t c) { return std::min(part, count - c * part); };
  const auto area = [&](std::byte* bytes, int owner) {
    return reinterpret_cast<float*>(bytes) + owner * part;
  };
  Steps steps{.chunks = (count + part - 1) / part, .fill = {}, .reduce = {}, .drain = {}};
  steps.fill = [&](int64_t c, uint32_t slot) {
    for (int owner = 0; owner < size_; ++owner)
      if (owner != rank_)
        StreamElements(values.data() + owner * count + c * part, length(c),
                       area(segment_->in_area(rank_, slot), owner));
  };
  steps.reduce = [&](int64_t c, uint32_t slot) {
    std::array<const float*, kMaxRanksPerHost> sources;
    for (int peer = 0; peer < size_; ++peer)
      sources[static_cast<size_t>(peer)] = peer == rank_
                                               ? values.data() + rank_ * count + c * part
                                               : area(segment_->in_area(peer, slot), rank_);
    SumInOrder(std::span(sources).first(static_cast<size_t>(size_)), piece.data() + c * part,
               static_cast<float*>(nullptr), length(c));
  };
  return RunSteps(steps);
}

Status SharedMemoryCollective::AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                                         absl::Duration timeout) {
  if (all.size() != piece.size() * static_cast<size_t>(size_))
    return Fail(InvalidArgument("all-gather of {} bytes over {} ranks into {} bytes", piece.size(),
                                size_, all.size()),
                rank_);
  const auto count = static_cast<int64_t>(piece.size());
  RETURN_IF_ERROR(Begin({kAllGather, kByte, count, 0}, timeout));
  const auto length = [&](int64_t c) { return std::min(kAreaBytes, count - c * kAreaBytes); };
  Steps steps{
      .chunks = (count + kAreaBytes - 1) / kAreaBytes, .fill = {}, .reduce = {}, .drain = {}};
  steps.reduce = [&](int64_t c, uint32_t slot) {
    StreamElements(piece.data() + c * kAreaBytes, length(c), segment_->out_area(rank_, slot));
  };
  steps.drain = [&](int64_t c, uint32_t slot) {
    for (int owner = 0; owner < size_; ++owner)
      StreamElements<std::byte>(segment_->out_area(owner, slot), length(c),
                                all.data() + owner * count + c * kAreaBytes);
  };
  return RunSteps(steps);
}

Status SharedMemoryCollective::Broadcast(std::span<std::byte> bytes, int root,
                                         absl::Duration timeout) {
  if (root < 0 || root >= size_)
    return Fail(InvalidArgument("broadcast from rank {} of {}", root, size_), rank_);
  const auto count = static_cast<int64_t>(bytes.size());
  RETURN_IF_ERROR(Begin({kBroadcast, kByte, count, root}, timeout));
  const auto length = [&](int64_t c) { return std::min(kAreaBytes, count - c * kAreaBytes); };
  Steps steps{
      .chunks = (count + kAreaBytes - 1) / kAreaBytes, .fill = {}, .reduce = {}, .drain = {}};
  if (rank_ == root)
    steps.reduce = [&](int64_t c, uint32_t slot) {
      StreamElements<std::byte>(bytes.data() + c * kAreaBytes, length(c),
                                segment_->out_area(rank_, slot));
    };
  else
    steps.drain = [&](int64_t c, uint32_t slot) {
      StreamElements<std::byte>(segment_->out_area(root, slot), length(c),
                                bytes.data() + c * kAreaBytes);
    };
  return RunSteps(steps);
}

Status SharedMemoryCollective::Barrier(absl::Duration timeout) {
  return Begin({kBarrier, kNoElement, 0, 0}, timeout);
}

// ---- Keeping step

Status SharedMemoryCollective::Begin(const CallDescriptor& call, absl::Duration timeout) {
  RETURN_IF_ERROR(failure_);
  call_ = call;
  timeout_ = timeout;
  deadline_ = clock_.Elapsed() + timeout;
  const int64_t number = sequence_.fetch_add(1) + 1;
  if (const uint64_t record = segment_->header().abort.load(); record != 0)
    return failure_ = ThisCall().Ended(AbortRecord::Unpack(record));
  // The description two calls ago was read by all: they began the last call after reading it.
  segment_->rank(rank_).calls[static_cast<size_t>(number % 2)] = call;
  Raise(&RankBlock::called, static_cast<uint32_t>(number));
  for (int peer = 0; peer < size_; ++peer) {
    RETURN_IF_ERROR(WaitFor(peer, &RankBlock::called, static_cast<uint32_t>(number)));
    const CallDescriptor theirs = segment_->rank(peer).calls[static_cast<size_t>(number % 2)];
    // Every rank compares, so every rank finds out without an abort.
    if (theirs != call) return failure_ = ThisCall().Disagreement(rank_, peer, theirs);
  }
  return OkStatus();
}

Status SharedMemoryCollective::RunSteps(const Steps& steps) {
  const uint32_t base = chunks_done_;
  const auto run = [&](const Step& step, int64_t c) {
    if (step) step(c, base + static_cast<uint32_t>(c));
  };
  // Chunk i is filled while i - 1 is summed and i - 2 copied out. A slot is used again once the
  // peers are done with what it held kSlots chunks before, in this call or an earlier one.
  for (int64_t i = 0; i < steps.chunks + 2; ++i) {
    const uint32_t at = base + static_cast<uint32_t>(i);
    if (i < steps.chunks) {
      RETURN_IF_ERROR(WaitForAll(&RankBlock::reduced, at + 1 - kSlots));
      run(steps.fill, i);
      Raise(&RankBlock::filled, at + 1);
    }
    if (i >= 1 && i - 1 < steps.chunks) {
      RETURN_IF_ERROR(WaitForAll(&RankBlock::filled, at));
      RETURN_IF_ERROR(WaitForAll(&RankBlock::drained, at - kSlots));
      run(steps.reduce, i - 1);
      Raise(&RankBlock::reduced, at);
    }
    if (i >= 2) {
      RETURN_IF_ERROR(WaitForAll(&RankBlock::reduced, at - 1));
      run(steps.drain, i - 2);
      Raise(&RankBlock::drained, at - 1);
    }
  }
  chunks_done_ = base + static_cast<uint32_t>(steps.chunks);
  return OkStatus();
}

void SharedMemoryCollective::Raise(Counter RankBlock::*counter, uint32_t value) {
  Counter& mine = segment_->rank(rank_).*counter;
  mine.value.store(value);
  if (mine.waiters.load() != 0) FutexWakeAll(&mine.value);
}

Status SharedMemoryCollective::WaitForAll(Counter RankBlock::*counter, uint32_t target) {
  for (int peer = 0; peer < size_; ++peer)
    if (peer != rank_) RETURN_IF_ERROR(WaitFor(peer, counter, target));
  return OkStatus();
}

Status SharedMemoryCollective::WaitFor(int peer, Counter RankBlock::*member, uint32_t target) {
  RankBlock& block = segment_->rank(peer);
  Counter& counter = block.*member;
  for (int spin = 0; spin < spins_; ++spin) {
    if (Reached(counter, target)) return OkStatus();
    Pause();
  }
  while (true) {
    // In this order: what a peer finished before it left, or before somebody gave up, counts.
    const bool left = block.left.load() != 0;
    const uint64_t record = segment_->header().abort.load();
    if (Reached(counter, target)) return OkStatus();
    if (record != 0) return failure_ = ThisCall().Ended(AbortRecord::Unpack(record));
    const int64_t begun = CallsOf(peer);
    if (left) return Fail(ThisCall().PeerLeft(peer, begun), peer);
    const absl::Duration remaining = deadline_ - clock_.Elapsed();
    if (remaining <= absl::ZeroDuration()) return Fail(ThisCall().PeerIsLate(peer, begun), peer);
    counter.waiters.fetch_add(1);
    const uint32_t seen = counter.value.load();
    if (static_cast<int32_t>(seen - target) < 0)
      FutexWait(&counter.value, seen, std::min(kSleepSlice, remaining));
    counter.waiters.fetch_sub(1);
  }
}

int64_t SharedMemoryCollective::CallsOf(int peer) const {
  const int64_t own = sequence_.load();
  const uint32_t theirs = segment_->rank(peer).called.value.load();
  return own + static_cast<int32_t>(theirs - static_cast<uint32_t>(own));
}

// ---- Ends

Status SharedMemoryCollective::Fail(Status status, int culprit) {
  failure_ = std::move(status);
  const AbortKind kind = failure_.code() == StatusCode::kDeadlineExceeded ? kLate : kGaveUp;
  SetAbort({kind, rank_, culprit, sequence_.load()});
  return failure_;
}

void SharedMemoryCollective::Abort() { SetAbort({kTold, rank_, rank_, sequence_.load()}); }

void SharedMemoryCollective::SetAbort(const AbortRecord& record) {
  uint64_t none = 0;
  segment_->header().abort.compare_exchange_strong(none, record.Pack());
  WakeEverybody();
}

void SharedMemoryCollective::WakeEverybody() {
  for (int peer = 0; peer < size_; ++peer) {
    RankBlock& block = segment_->rank(peer);
    for (Counter* counter : {&block.called, &block.filled, &block.reduced, &block.drained})
      FutexWakeAll(&counter->value);
  }
}

void SharedMemoryCollective::WatchPeers() {
  std::vector<pollfd> watched = {{stop_watching_.get(), POLLIN, 0}};
  for (const UniqueFd& connection : connections_) watched.push_back({connection.get(), POLLIN, 0});
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      REQUIRE(errno == EINTR);
      continue;
    }
    if (watched[0].revents != 0) return;
    for (size_t i = 1; i < watched.size(); ++i) {
      if (watched[i].revents == 0) continue;
      const int peer = static_cast<int>(i) - 1;
      // Peers say nothing here: whatever comes is the end of the connection.
      if (segment_->rank(peer).left.load() == 0) SetAbort({kGone, rank_, peer, sequence_.load()});
      watched[i].fd = -1;
    }
  }
}

}  // namespace trainyard::worker

#include "worker/parallel/tcp_collective.h"

#include <algorithm>
#include <cstring>

#include "common/require.h"
#include "worker/parallel/sum.h"

namespace trainyard::worker {
namespace {

constexpr uint32_t kMagic = 0x43545254;  // "TRTC", in the sender's byte order
// Chunks whose shares are under way before the first one's sum is sent.
constexpr int64_t kAhead = 7;
constexpr int64_t kSlots = kAhead + 1;
// A share pays for a system call or two; what waits to be summed is bounded in all.
constexpr int64_t kShareBytesMax = 256 << 10;
constexpr int64_t kInboxBytes = 16 << 20;
// How long the word of a peer whose stream has ended may take behind it.
constexpr absl::Duration kLastWord = absl::Seconds(1);

int64_t ShareBytes(int size) {
  return std::min(kShareBytesMax, kInboxBytes / kSlots / size / 64 * 64);
}

template <class T>
std::byte* Bytes(T* values) {
  // Traffic takes no const: what is sent is not written.
  return reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(values));
}

template <class T>
size_t SizeOf(int64_t count) {
  return static_cast<size_t>(count) * sizeof(T);
}

}  // namespace

// What begins every call on every stream.
struct TcpCollective::Header {
  uint32_t magic = kMagic;
  uint32_t operation = 0;
  int64_t sequence = 0;
  int64_t count = 0;
  uint32_t element = 0;
  int32_t root = 0;

  CallDescriptor call() const { return {operation, element, count, root}; }
};

TcpCollective::TcpCollective(std::vector<UniqueFd> data, std::vector<UniqueFd> control, int rank)
    : rank_(rank),
      size_(static_cast<int>(data.size())),
      share_bytes_(ShareBytes(size_)),
      streams_(std::move(data)),
      peer_calls_(static_cast<size_t>(size_)),
      control_(std::move(control), rank, [this] { streams_.Wake(); }) {
  REQUIRE(rank >= 0 && rank < size_ && size_ <= kMaxRanks);
}

TcpCollective::~TcpCollective() { control_.Leave(sequence_.load()); }

// ---- Calls

Status TcpCollective::AllReduceSum(std::span<float> values, absl::Duration timeout) {
  return ReduceAll(values, kFloat32, timeout);
}
Status TcpCollective::AllReduceSum(std::span<double> values, absl::Duration timeout) {
  return ReduceAll(values, kFloat64, timeout);
}

template <class T>
Status TcpCollective::ReduceAll(std::span<T> values, uint32_t element, absl::Duration timeout) {
  const auto count = static_cast<int64_t>(values.size());
  RETURN_IF_ERROR(Begin({kAllReduce, element, count, 0}, timeout));
  const Cut cut(count, size_, sizeof(T), share_bytes_ * size_);
  Traffic traffic(streams_.size());
  traffic.chunks = cut.chunks();
  const auto add_sum = [&](size_t peer, int64_t c) {
    const Share own = cut.share(c, rank_), theirs = cut.share(c, static_cast<int>(peer));
    traffic.to[peer].push_back(
        {.data = Bytes(values.data() + own.begin), .bytes = SizeOf<T>(own.count), .after = c + 1});
    traffic.from[peer].push_back(
        {.data = Bytes(values.data() + theirs.begin), .bytes = SizeOf<T>(theirs.count)});
  };
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    const auto p = static_cast<size_t>(peer);
    for (int64_t c = 0; c < cut.chunks(); ++c) {
      const Share own = cut.share(c, rank_), theirs = cut.share(c, peer);
      traffic.to[p].push_back(
          {.data = Bytes(values.data() + theirs.begin), .bytes = SizeOf<T>(theirs.count)});
      traffic.from[p].push_back({.data = Inbox(peer, c),
                                 .bytes = SizeOf<T>(own.count),
                                 .after = c - kSlots + 1,
                                 .is_part = true});
      if (c >= kAhead) add_sum(p, c - kAhead);
    }
    for (int64_t c = std::max(int64_t{0}, cut.chunks() - kAhead); c < cut.chunks(); ++c)
      add_sum(p, c);
  }
  std::vector<const T*> sources(static_cast<size_t>(size_));
  traffic.sum = [&](int64_t c) {
    const Share own = cut.share(c, rank_);
    for (int peer = 0; peer < size_; ++peer)
      sources[static_cast<size_t>(peer)] =
          peer == rank_ ? values.data() + own.begin : reinterpret_cast<const T*>(Inbox(peer, c));
    SumInOrder(std::span<const T* const>(sources), values.data() + own.begin,
               static_cast<T*>(nullptr), own.count);
  };
  return Move(traffic);
}

Status TcpCollective::ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                                       absl::Duration timeout) {
  if (values.size() != piece.size() * static_cast<size_t>(size_))
    return Fail(InvalidArgument("reduce-scatter of {} values over {} ranks into a piece of {}",
                                values.size(), size_, piece.size()),
                rank_, kGaveUp);
  const auto count = static_cast<int64_t>(piece.size());
  RETURN_IF_ERROR(Begin({kReduceScatter, kFloat32, count * size_, 0}, timeout));
  // Chunk c holds the c-th part of every rank's piece.
  const int64_t part = share_bytes_ / static_cast<int64_t>(sizeof(float));
  const auto length = [&](int64_t c) { return std::min(part, count - c * part); };
  Traffic traffic(streams_.size());
  traffic.chunks = (count + part - 1) / part;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    for (int64_t c = 0; c < traffic.chunks; ++c) {
      const size_t bytes = SizeOf<float>(length(c));
      traffic.to[static_cast<size_t>(peer)].push_back(
          {.data = Bytes(values.data() + peer * count + c * part), .bytes = bytes});
      traffic.from[static_cast<size_t>(peer)].push_back(
          {.data = Inbox(peer, c), .bytes = bytes, .after = c - kSlots + 1, .is_part = true});
    }
  }
  std::vector<const float*> sources(static_cast<size_t>(size_));
  traffic.sum = [&](int64_t c) {
    for (int peer = 0; peer < size_; ++peer)
      sources[static_cast<size_t>(peer)] = peer == rank_
                                               ? values.data() + rank_ * count + c * part
                                               : reinterpret_cast<const float*>(Inbox(peer, c));
    SumInOrder(std::span<const float* const>(sources), piece.data() + c * part,
               static_cast<float*>(nullptr), length(c));
  };
  return Move(traffic);
}

Status TcpCollective::AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                                absl::Duration timeout) {
  if (all.size() != piece.size() * static_cast<size_t>(size_))
    return Fail(InvalidArgument("all-gather of {} bytes over {} ranks into {} bytes", piece.size(),
                                size_, all.size()),
                rank_, kGaveUp);
  RETURN_IF_ERROR(Begin({kAllGather, kByte, static_cast<int64_t>(piece.size()), 0}, timeout));
  std::byte* const own = all.data() + static_cast<size_t>(rank_) * piece.size();
  if (!piece.empty()) std::memmove(own, piece.data(), piece.size());
  Traffic traffic(streams_.size());
  for (size_t peer = 0; peer < traffic.to.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    traffic.to[peer].push_back({.data = own, .bytes = piece.size()});
    traffic.from[peer].push_back({.data = all.data() + peer * piece.size(), .bytes = piece.size()});
  }
  return Move(traffic);
}

Status TcpCollective::Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) {
  if (root < 0 || root >= size_)
    return Fail(InvalidArgument("broadcast from rank {} of {}", root, size_), rank_, kGaveUp);
  RETURN_IF_ERROR(Begin({kBroadcast, kByte, static_cast<int64_t>(bytes.size()), root}, timeout));
  Traffic traffic(streams_.size());
  const Traffic::Piece all{.data = bytes.data(), .bytes = bytes.size()};
  if (rank_ != root) {
    traffic.from[static_cast<size_t>(root)].push_back(all);
  } else {
    for (int peer = 0; peer < size_; ++peer)
      if (peer != root) traffic.to[static_cast<size_t>(peer)].push_back(all);
  }
  return Move(traffic);
}

Status TcpCollective::Barrier(absl::Duration timeout) {
  return Begin({kBarrier, kNoElement, 0, 0}, timeout);
}

// ---- Keeping step

Status TcpCollective::Begin(const CallDescriptor& call, absl::Duration timeout) {
  RETURN_IF_ERROR(failure_);
  call_ = call;
  timeout_ = timeout;
  deadline_ = clock_.Elapsed() + timeout;
  const int64_t number = sequence_.fetch_add(1) + 1;
  if (const uint64_t record = control_.abort(); record != 0)
    return failure_ = ThisCall().Ended(AbortRecord::Unpack(record));
  Header mine{.operation = call.operation,
              .sequence = number,
              .count = call.count,
              .element = call.element,
              .root = call.root};
  std::vector<Header> theirs(streams_.size(), mine);
  Traffic traffic(streams_.size());
  for (size_t peer = 0; peer < theirs.size(); ++peer) {
    if (static_cast<int>(peer) == rank_) continue;
    theirs[peer] = {};
    traffic.to[peer].push_back({.data = Bytes(&mine), .bytes = sizeof(mine)});
    traffic.from[peer].push_back({.data = Bytes(&theirs[peer]), .bytes = sizeof(Header)});
  }
  RETURN_IF_ERROR(Move(traffic));
  return CheckHeaders(theirs);
}

Status TcpCollective::CheckHeaders(const std::vector<Header>& theirs) {
  for (int peer = 0; peer < size_; ++peer) {
    const Header& header = theirs[static_cast<size_t>(peer)];
    if (header.magic != kMagic || header.sequence != sequence_.load())
      return Fail(ThisCall().Ended({kGarbled, rank_, peer}), peer, kGarbled);
    peer_calls_[static_cast<size_t>(peer)] = header.sequence;
  }
  // Every rank has every header, so every rank finds out without an abort.
  for (int peer = 0; peer < size_; ++peer) {
    const CallDescriptor call = theirs[static_cast<size_t>(peer)].call();
    if (call != call_) return failure_ = ThisCall().Disagreement(rank_, peer, call);
  }
  return OkStatus();
}

std::byte* TcpCollective::Inbox(int peer, int64_t chunk) {
  if (inbox_.empty()) inbox_.resize(static_cast<size_t>(size_ * kSlots * share_bytes_));
  return inbox_.data() + (peer * kSlots + chunk % kSlots) * share_bytes_;
}

Status TcpCollective::Move(const Traffic& traffic) {
  const PeerStreams::Result result =
      streams_.Run(traffic, deadline_, [this] { return control_.abort() != 0; });
  switch (result.end) {
    case PeerStreams::End::kDone:
      return OkStatus();
    case PeerStreams::End::kStopped:
      return failure_ = ThisCall().Ended(AbortRecord::Unpack(control_.abort()));
    case PeerStreams::End::kBroken:
      return StreamEnded(result.peer, result.why);
    case PeerStreams::End::kLate:
      break;
  }
  const int64_t begun = peer_calls_[static_cast<size_t>(result.peer)];
  return Fail(ThisCall().PeerIsLate(result.peer, begun), result.peer, kLate);
}

// ---- Ends

Status TcpCollective::StreamEnded(int peer, const std::string& why) {
  // Nothing moves any more; only the peer's word, or the end of its line, is waited for.
  Traffic nothing(streams_.size());
  std::byte never;
  nothing.from[static_cast<size_t>(peer)].push_back({.data = &never, .bytes = 1, .after = 1});
  const auto heard = [&] { return control_.abort() != 0 || control_.left_after(peer) >= 0; };
  streams_.Run(nothing, clock_.Elapsed() + kLastWord, heard);
  if (const uint64_t record = control_.abort(); record != 0)
    return failure_ = ThisCall().Ended(AbortRecord::Unpack(record));
  if (const int64_t calls = control_.left_after(peer); calls >= 0)
    return Fail(ThisCall().PeerLeft(peer, calls), peer, kGaveUp);
  return Fail(Aborted("{}: the connection to rank {} broke: {}", ThisCall().Name(), peer, why),
              peer, kGone);
}

Status TcpCollective::Fail(Status status, int culprit, AbortKind kind) {
  failure_ = std::move(status);
  control_.Abort({kind, rank_, culprit, sequence_.load()});
  return failure_;
}

void TcpCollective::Abort() { control_.Abort({kTold, rank_, rank_, sequence_.load()}); }

}  // namespace trainyard::worker

// A Collective over TCP, for ranks of several hosts.
//
// Every rank is connected to every other. A reduction is cut into chunks and a chunk into one share
// per rank: each rank sends every peer that peer's share, sums its own share over all ranks in rank
// order, and sends the result to all. Per rank 2 (n-1)/n of the values go out and as many come in,
// the least there is (a ring's), in two hops instead of a ring's 2 (n-1); and whoever owns a share
// has all its summands, so the bits are those of SharedMemoryCollective. A ring that carries
// partial sums could not keep the order of the ranks without starting every share at rank 0. Up to
// kAhead chunks are under way, so the link works both ways while shares are summed. Values are
// float32 (or float64) on the wire.
//
// Ranks that share a host also talk over TCP (its loopback) once one rank is elsewhere: summing
// within each host first would add in another order, and so give other bits.
//
// A call begins with a header to and from every peer; nothing else moves until all agree. Errors
// and goodbyes go over ControlLines. What is sent is neither encrypted nor signed once the
// connections have proved the attempt's secret: the network between hosts must be one's own.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "worker/parallel/collective.h"
#include "worker/parallel/control_lines.h"
#include "worker/parallel/cut.h"
#include "worker/parallel/peer_streams.h"

namespace trainyard::worker {

class TcpCollective final : public Collective {
 public:
  static constexpr int kMaxRanks = 255;

  // `data`, `control`: non-blocking connections to each peer, by rank (this rank's own is invalid).
  TcpCollective(std::vector<UniqueFd> data, std::vector<UniqueFd> control, int rank);
  ~TcpCollective() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override;
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override;
  // `piece` may be this rank's own part of `values`.
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override;
  // `piece` may be this rank's own part of `all`.
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override;
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override;
  Status Barrier(absl::Duration timeout) override;
  void Abort() override;
  int64_t sequence() const override { return sequence_.load(); }
  bool waits_for_network() const override { return true; }

 private:
  struct Header;

  template <class T>
  Status ReduceAll(std::span<T> values, uint32_t element, absl::Duration timeout);
  // Makes the call's number and exchanges headers; OK once all ranks are in the same call.
  Status Begin(const CallDescriptor& call, absl::Duration timeout);
  Status CheckHeaders(const std::vector<Header>& theirs);
  Status Move(const Traffic& traffic);
  // Where the share of `chunk` that `peer` sends waits to be summed.
  std::byte* Inbox(int peer, int64_t chunk);
  // What the peer's own word says about the end of its stream; `why` when it says nothing.
  Status StreamEnded(int peer, const std::string& why);
  // Remembers the error, ends the collective for everybody, and gives the error back.
  Status Fail(Status status, int culprit, AbortKind kind);
  OwnCall ThisCall() const { return {sequence_.load(), call_, timeout_}; }

  const int rank_;
  const int size_;
  const int64_t share_bytes_;  // at most, of one chunk
  const SystemClock clock_;
  PeerStreams streams_;

  // Used by the thread that makes the calls alone.
  Status failure_;
  CallDescriptor call_;
  absl::Duration timeout_;
  absl::Duration deadline_;
  std::vector<int64_t> peer_calls_;  // by rank: begun, as of their last header
  std::vector<std::byte> inbox_;     // empty until a reduction

  std::atomic<int64_t> sequence_{0};
  ControlLines control_;  // last: its thread wakes streams_
};

}  // namespace trainyard::worker

// A Collective through memory that its ranks share.
//
// Values travel in chunks through a ring of slots, in three steps that overlap: every rank puts the
// others' shares of its chunk into its `in` area; sums its own share over all ranks, in rank order,
// into its `out` area; copies the others' finished shares out. Who waits spins for a moment, then
// sleeps on a futex in slices, and looks each time at the abort word and its deadline.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "common/files.h"
#include "common/thread.h"
#include "worker/parallel/collective.h"
#include "worker/parallel/segment.h"

namespace trainyard::worker {

class SharedMemoryCollective final : public Collective {
 public:
  // `connections`: a socket to each peer, by rank (this rank's own is invalid), silent from now on;
  // its end tells that the peer died. Empty between threads.
  SharedMemoryCollective(std::shared_ptr<Segment> segment, int rank, int size,
                         std::vector<UniqueFd> connections);
  ~SharedMemoryCollective() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override;
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override;
  // `piece` may be this rank's own part of `values`.
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override;
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override;
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override;
  Status Barrier(absl::Duration timeout) override;
  void Abort() override;
  int64_t sequence() const override { return sequence_.load(); }

 private:
  // The steps of a call for chunk `c` of it, which lies in slot `slot` of every ring.
  using Step = std::function<void(int64_t c, uint32_t slot)>;
  struct Steps {
    int64_t chunks = 0;
    Step fill, reduce, drain;  // empty: nothing to do
  };

  template <class T>
  Status ReduceAll(std::span<T> values, uint32_t element, absl::Duration timeout);
  // Makes the call's number, tells the peers what it is, waits for them and compares.
  Status Begin(const CallDescriptor& call, absl::Duration timeout);
  Status RunSteps(const Steps& steps);
  Status WaitForAll(Counter RankBlock::*counter, uint32_t target);
  Status WaitFor(int peer, Counter RankBlock::*counter, uint32_t target);
  void Raise(Counter RankBlock::*counter, uint32_t value);
  // Remembers the error, ends the collective for everybody, and gives the error back.
  Status Fail(Status status, int culprit);
  int64_t CallsOf(int peer) const;
  OwnCall ThisCall() const { return {sequence_.load(), call_, timeout_}; }
  void SetAbort(const AbortRecord& record);
  void WakeEverybody();
  void WatchPeers();

  const std::shared_ptr<Segment> segment_;
  const int rank_;
  const int size_;
  const int spins_;
  const SystemClock clock_;
  const std::vector<UniqueFd> connections_;
  const UniqueFd stop_watching_;  // an eventfd

  // Used by the thread that makes the calls alone.
  Status failure_;
  CallDescriptor call_;
  absl::Duration deadline_;
  absl::Duration timeout_;
  uint32_t chunks_done_ = 0;

  std::atomic<int64_t> sequence_{0};
  Thread watcher_;  // last: it uses the rest
};

}  // namespace trainyard::worker

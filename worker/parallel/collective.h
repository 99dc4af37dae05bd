// What ranks say to each other: gradients and shards only. A Collective is made for an ordered list
// of ranks; `rank()` is this process's place in that list.
//
// Every call takes a deadline and is made by all ranks in the same order. Sums are taken in rank
// order, so results are the same bits on every rank and in every run. After an error the collective
// is unusable: every later call fails at once.
//   DeadlineExceeded  a peer did not arrive in time; the message names it and the call's number
//   Aborted           Abort() was called here, or a peer is gone
//   InvalidArgument   peers disagree about operation, size or order; both are named
#pragma once

#include <absl/time/time.h>

#include <cstdint>
#include <span>

#include "common/status.h"

namespace trainyard::worker {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Replaces `values` by their sum over all ranks.
  virtual Status AllReduceSum(std::span<float> values, absl::Duration timeout) = 0;
  virtual Status AllReduceSum(std::span<double> values, absl::Duration timeout) = 0;
  // Rank r's piece of the sum: values.size() must divide by size(); `piece` has that many floats.
  virtual Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                                  absl::Duration timeout) = 0;
  virtual Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                           absl::Duration timeout) = 0;
  virtual Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) = 0;
  virtual Status Barrier(absl::Duration timeout) = 0;

  // Frees every blocked call of this rank, and of its peers, within 100 ms. Any thread may call it.
  virtual void Abort() = 0;
  // Number of calls begun so far; compared across ranks to name the one that is behind.
  virtual int64_t sequence() const = 0;
  // Whether a call mostly waits for a network, so that computing meanwhile pays. Between processes
  // of one host a call is copies and sums by the very cores that compute.
  virtual bool waits_for_network() const { return false; }
};

}  // namespace trainyard::worker

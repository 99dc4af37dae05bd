// A Collective of GPUs: values in a device's memory travel by NCCL, those in the host's memory by
// the collective underneath, which is also how ranks agree.
//
// NCCL itself cannot tell that ranks want different things, nor who is late: it hangs, or mixes
// them up. So before every NCCL call each rank says through the collective underneath which call it
// is about to make; only what all agree on is begun. A late, dead or aborted peer shows there, with
// its name. Work that then does not end by the deadline is aborted.
//
// Sums are added in the order of NCCL's own plan, not by rank: the same bits on every rank, and in
// every run on the same machines.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>

#include <atomic>
#include <memory>
#include <string>

#include "common/clock.h"
#include "worker/parallel/call.h"
#include "worker/parallel/collective.h"
#include "worker/parallel/nccl_library.h"

namespace trainyard::worker {

class NcclCollective final : public Collective {
 public:
  // Sets up NCCL among the ranks of `host`, all of which call this. Errors are those of a call.
  static StatusOr<std::unique_ptr<Collective>> Connect(std::unique_ptr<Collective> host,
                                                       std::unique_ptr<NcclLibrary> library,
                                                       const Clock* clock, absl::Duration timeout);
  ~NcclCollective() override;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override;
  // The host's memory alone.
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override;
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override;
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override;
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override;
  Status Barrier(absl::Duration timeout) override;
  void Abort() override;
  int64_t sequence() const override { return sequence_.load(); }

 private:
  NcclCollective(std::unique_ptr<Collective> host, std::unique_ptr<NcclLibrary> library,
                 const Clock* clock);
  Status Meet(absl::Duration timeout);
  // Agrees on `what`, then does `begin` (which returns NCCL's result) and waits for its end.
  template <class Begin>
  Status OnDevice(const CallDescriptor& what, absl::Duration timeout, Begin begin);
  // Counts a call of the collective underneath, and keeps its error.
  template <class Call>
  Status OnHost(Call call);
  Status Agree(const OwnCall& call);
  // Waits until the communicator, and with `stream` its work, is done.
  Status WaitFor(const std::string& what, bool stream, absl::Duration timeout);
  // Waits that long for Abort; whether it was called.
  bool AbortedWithin(absl::Duration wait);
  Status Fail(Status status);

  const std::unique_ptr<Collective> host_;
  const std::unique_ptr<NcclLibrary> library_;
  const Clock* const clock_;
  Status failure_;  // of the thread that makes the calls
  std::atomic<int64_t> sequence_{0};

  absl::Mutex mu_;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace trainyard::worker

// A collective that knows how long its calls took: a step's time for "reduce", wherever in the step
// the calls are made. Waiting for a slower rank is part of it.
#pragma once

#include "common/clock.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

class TimedCollective final : public Collective {
 public:
  // Both outlive this object.
  TimedCollective(Collective* inner, const Clock* clock) : inner_(inner), clock_(clock) {}

  // Time spent in calls since the last Take.
  absl::Duration Take() { return std::exchange(spent_, absl::ZeroDuration()); }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override {
    return Timed([&] { return inner_->AllReduceSum(values, timeout); });
  }
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override {
    return Timed([&] { return inner_->AllReduceSum(values, timeout); });
  }
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override {
    return Timed([&] { return inner_->ReduceScatterSum(values, piece, timeout); });
  }
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override {
    return Timed([&] { return inner_->AllGather(piece, all, timeout); });
  }
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override {
    return Timed([&] { return inner_->Broadcast(bytes, root, timeout); });
  }
  Status Barrier(absl::Duration timeout) override {
    return Timed([&] { return inner_->Barrier(timeout); });
  }
  void Abort() override { inner_->Abort(); }
  int64_t sequence() const override { return inner_->sequence(); }
  bool waits_for_network() const override { return inner_->waits_for_network(); }

 private:
  template <class Call>
  Status Timed(const Call& call) {
    const absl::Duration begin = clock_->Elapsed();
    Status status = call();
    spent_ += clock_->Elapsed() - begin;
    return status;
  }

  Collective* const inner_;
  const Clock* const clock_;
  absl::Duration spent_ = absl::ZeroDuration();
};

}  // namespace trainyard::worker

// A loop's collective: its errors say why the attempt ends (PeerError), whichever verb they pass
// through on their way out.
#pragma once

#include "worker/loop/outcome.h"
#include "worker/parallel/collective.h"

namespace trainyard::worker {

class PeerCollective final : public Collective {
 public:
  // `inner` outlives this object.
  explicit PeerCollective(Collective* inner) : inner_(inner) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Status AllReduceSum(std::span<float> values, absl::Duration timeout) override {
    return PeerError(inner_->AllReduceSum(values, timeout));
  }
  Status AllReduceSum(std::span<double> values, absl::Duration timeout) override {
    return PeerError(inner_->AllReduceSum(values, timeout));
  }
  Status ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                          absl::Duration timeout) override {
    return PeerError(inner_->ReduceScatterSum(values, piece, timeout));
  }
  Status AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                   absl::Duration timeout) override {
    return PeerError(inner_->AllGather(piece, all, timeout));
  }
  Status Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) override {
    return PeerError(inner_->Broadcast(bytes, root, timeout));
  }
  Status Barrier(absl::Duration timeout) override { return PeerError(inner_->Barrier(timeout)); }
  void Abort() override { inner_->Abort(); }
  int64_t sequence() const override { return inner_->sequence(); }
  bool waits_for_network() const override { return inner_->waits_for_network(); }

 private:
  Collective* const inner_;
};

}  // namespace trainyard::worker

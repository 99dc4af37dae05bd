// NCCL without GPUs: communicators of one process, whose "device memory" is the host's. It does
// what NCCL does, wrongly where NCCL would: it compares nothing and reports only what a test tells
// it to.
#pragma once

#include <absl/synchronization/mutex.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "worker/parallel/nccl_library.h"

namespace trainyard::worker {

constexpr int kNcclRemoteError = 6;

// What the communicators of one id share.
class FakeNcclWorld {
 public:
  explicit FakeNcclWorld(int ranks) : ranks_(ranks) {}

  // What rank `rank` brings to its next operation; the last to come does the work of all.
  using Work = std::function<void(const std::vector<const std::byte*>& from)>;
  void Bring(int rank, const void* from, Work work) {
    absl::MutexLock lock(&mu_);
    const int64_t operation = begun_[rank]++;
    Operation& pending = operations_[operation];
    pending.from.resize(static_cast<size_t>(ranks_));
    pending.from[static_cast<size_t>(rank)] = static_cast<const std::byte*>(from);
    pending.work.push_back(std::move(work));
    if (broken_ || pending.work.size() < static_cast<size_t>(ranks_)) return;
    for (const Work& one : pending.work) one(pending.from);  // into buffers of their own
    ++done_;
  }
  bool IsDone(int rank) {
    absl::MutexLock lock(&mu_);
    return done_ >= begun_[rank];
  }
  // A rank gives up: nothing of its memory is touched any more.
  void Break() {
    absl::MutexLock lock(&mu_);
    broken_ = true;
  }
  int64_t operations_begun() {
    absl::MutexLock lock(&mu_);
    int64_t begun = 0;
    for (const auto& [rank, count] : begun_) begun += count;
    return begun;
  }

 private:
  struct Operation {
    std::vector<const std::byte*> from;
    std::vector<Work> work;
  };
  const int ranks_;
  absl::Mutex mu_;
  std::map<int, int64_t> begun_;
  std::map<int64_t, Operation> operations_;
  int64_t done_ = 0;
  bool broken_ = false;
};

// What a test makes go wrong.
struct FakeNcclFaults {
  int get_id = kNcclSuccess, init = kNcclInProgress, begin = kNcclInProgress;
  int async_error = kNcclSuccess;  // once set up
  bool init_hangs = false;
  bool work_hangs = false;
};

class FakeNccl final : public NcclLibrary {
 public:
  FakeNccl(FakeNcclWorld* world, FakeNcclFaults faults, bool all_memory_is_the_device_s,
           int* aborts)
      : world_(world), faults_(faults), on_device_(all_memory_is_the_device_s), aborts_(aborts) {}

  int GetUniqueId(NcclUniqueId* id) override {
    id->fill(std::byte{42});
    return faults_.get_id;
  }
  int CommInitRank(int size, const NcclUniqueId& id, int rank) override {
    size_ = size;
    rank_ = rank;
    if (id.back() != std::byte{42}) return kNcclRemoteError;
    return faults_.init;
  }
  int CommGetAsyncError() override {
    if (faults_.init_hangs) return kNcclInProgress;
    if (looks_++ == 0) return kNcclInProgress;  // like the real one, it takes its time
    return faults_.async_error;
  }
  void CommAbort() override {
    ++*aborts_;
    world_->Break();
  }
  std::string Explain(int result) override { return "result " + std::to_string(result); }

  int AllReduceSum(float* values, int64_t count) override {
    copy_.assign(values, values + count);
    return Bring(copy_.data(), [=, this](const auto& from) {
      for (int64_t i = 0; i < count; ++i) values[i] = SumAt(from, i);
    });
  }
  int ReduceScatterSum(const float* values, float* piece, int64_t count) override {
    copy_.assign(values, values + count * size_);
    return Bring(copy_.data(), [=, this](const auto& from) {
      for (int64_t i = 0; i < count; ++i) piece[i] = SumAt(from, rank_ * count + i);
    });
  }
  int AllGather(const std::byte* piece, std::byte* all, int64_t count) override {
    bytes_.assign(piece, piece + count);
    return Bring(bytes_.data(), [=](const auto& from) {
      for (size_t rank = 0; rank < from.size(); ++rank) {
        std::copy(from[rank], from[rank] + count, all + static_cast<int64_t>(rank) * count);
      }
    });
  }
  int Broadcast(std::byte* bytes, int64_t count, int root) override {
    bytes_.assign(bytes, bytes + count);
    return Bring(bytes_.data(), [=](const auto& from) {
      const std::byte* source = from[static_cast<size_t>(root)];
      std::copy(source, source + count, bytes);
    });
  }
  StatusOr<bool> StreamIsDone() override { return !faults_.work_hangs && world_->IsDone(rank_); }
  bool IsDeviceMemory(const void*) override { return on_device_; }

 private:
  template <class Work>
  int Bring(const void* from, Work work) {
    looks_ = 0;
    world_->Bring(rank_, from, std::move(work));
    return faults_.begin;
  }
  static float SumAt(const std::vector<const std::byte*>& from, int64_t i) {
    float sum = reinterpret_cast<const float*>(from[0])[i];
    for (size_t rank = 1; rank < from.size(); ++rank) {
      sum += reinterpret_cast<const float*>(from[rank])[i];
    }
    return sum;
  }
  FakeNcclWorld* const world_;
  const FakeNcclFaults faults_;
  const bool on_device_;
  int* const aborts_;
  int size_ = 0, rank_ = 0, looks_ = 0;
  std::vector<float> copy_;
  std::vector<std::byte> bytes_;
};

}  // namespace trainyard::worker

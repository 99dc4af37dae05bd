#include "worker/parallel/nccl_collective.h"

#include <vector>

namespace trainyard::worker {
namespace {

// A waiting rank looks at NCCL without a pause at first, since most calls are short, then seldom.
constexpr absl::Duration kEager = absl::Milliseconds(2);
constexpr absl::Duration kLookEvery = absl::Microseconds(500);

int64_t CountOf(size_t size) { return static_cast<int64_t>(size); }

}  // namespace

NcclCollective::NcclCollective(std::unique_ptr<Collective> host,
                               std::unique_ptr<NcclLibrary> library, const Clock* clock)
    : host_(std::move(host)), library_(std::move(library)), clock_(clock) {}

NcclCollective::~NcclCollective() {
  if (failure_.ok()) library_->CommAbort();  // nothing is under way: it only frees
}

StatusOr<std::unique_ptr<Collective>> NcclCollective::Connect(std::unique_ptr<Collective> host,
                                                              std::unique_ptr<NcclLibrary> library,
                                                              const Clock* clock,
                                                              absl::Duration timeout) {
  std::unique_ptr<NcclCollective> made(
      new NcclCollective(std::move(host), std::move(library), clock));
  RETURN_IF_ERROR(made->Meet(timeout));
  return made;
}

Status NcclCollective::Meet(absl::Duration timeout) {
  const absl::Duration deadline = clock_->Elapsed() + timeout;
  NcclUniqueId id{};
  if (rank() == 0) {
    if (const int result = library_->GetUniqueId(&id); result != kNcclSuccess) {
      return Fail(Internal("NCCL gives no id: {}", library_->Explain(result)));
    }
  }
  if (Status status = host_->Broadcast(id, /*root=*/0, timeout); !status.ok()) return Fail(status);
  const int result = library_->CommInitRank(size(), id, rank());
  if (result != kNcclSuccess && result != kNcclInProgress) {
    return Fail(Internal("NCCL cannot set up rank {} of {}: {}", rank(), size(),
                         library_->Explain(result)));
  }
  return WaitFor("setting up NCCL", /*stream=*/false, deadline - clock_->Elapsed());
}

// ---- Calls

Status NcclCollective::AllReduceSum(std::span<float> values, absl::Duration timeout) {
  if (!library_->IsDeviceMemory(values.data())) {
    return OnHost([&] { return host_->AllReduceSum(values, timeout); });
  }
  return OnDevice({kAllReduce, kFloat32, CountOf(values.size()), 0}, timeout,
                  [&] { return library_->AllReduceSum(values.data(), CountOf(values.size())); });
}

Status NcclCollective::AllReduceSum(std::span<double> values, absl::Duration timeout) {
  return OnHost([&] { return host_->AllReduceSum(values, timeout); });
}

Status NcclCollective::ReduceScatterSum(std::span<const float> values, std::span<float> piece,
                                        absl::Duration timeout) {
  if (!library_->IsDeviceMemory(values.data())) {
    return OnHost([&] { return host_->ReduceScatterSum(values, piece, timeout); });
  }
  if (values.size() != piece.size() * static_cast<size_t>(size())) {
    return Fail(InvalidArgument("reduce-scatter of {} values over {} ranks into a piece of {}",
                                values.size(), size(), piece.size()));
  }
  return OnDevice({kReduceScatter, kFloat32, CountOf(values.size()), 0}, timeout, [&] {
    return library_->ReduceScatterSum(values.data(), piece.data(), CountOf(piece.size()));
  });
}

Status NcclCollective::AllGather(std::span<const std::byte> piece, std::span<std::byte> all,
                                 absl::Duration timeout) {
  if (!library_->IsDeviceMemory(all.data())) {
    return OnHost([&] { return host_->AllGather(piece, all, timeout); });
  }
  if (all.size() != piece.size() * static_cast<size_t>(size())) {
    return Fail(InvalidArgument("all-gather of {} bytes over {} ranks into {} bytes", piece.size(),
                                size(), all.size()));
  }
  return OnDevice({kAllGather, kByte, CountOf(piece.size()), 0}, timeout, [&] {
    return library_->AllGather(piece.data(), all.data(), CountOf(piece.size()));
  });
}

Status NcclCollective::Broadcast(std::span<std::byte> bytes, int root, absl::Duration timeout) {
  if (!library_->IsDeviceMemory(bytes.data())) {
    return OnHost([&] { return host_->Broadcast(bytes, root, timeout); });
  }
  if (root < 0 || root >= size()) {
    return Fail(InvalidArgument("broadcast from rank {} of {}", root, size()));
  }
  return OnDevice({kBroadcast, kByte, CountOf(bytes.size()), root}, timeout,
                  [&] { return library_->Broadcast(bytes.data(), CountOf(bytes.size()), root); });
}

Status NcclCollective::Barrier(absl::Duration timeout) {
  return OnHost([&] { return host_->Barrier(timeout); });
}

void NcclCollective::Abort() {
  {
    absl::MutexLock lock(&mu_);
    aborted_ = true;
  }
  host_->Abort();
}

// ---- What calls share

template <class Call>
Status NcclCollective::OnHost(Call call) {
  if (!failure_.ok()) return failure_;
  ++sequence_;
  Status status = call();
  return status.ok() ? status : Fail(std::move(status));
}

template <class Begin>
Status NcclCollective::OnDevice(const CallDescriptor& what, absl::Duration timeout, Begin begin) {
  if (!failure_.ok()) return failure_;
  const OwnCall call{.number = ++sequence_, .what = what, .timeout = timeout};
  const absl::Duration deadline = clock_->Elapsed() + timeout;
  RETURN_IF_ERROR(Agree(call));
  const int result = begin();
  if (result != kNcclSuccess && result != kNcclInProgress) {
    return Fail(Internal("{}: NCCL: {}", call.Name(), library_->Explain(result)));
  }
  return WaitFor(call.Name(), /*stream=*/true, deadline - clock_->Elapsed());
}

Status NcclCollective::Agree(const OwnCall& call) {
  std::vector<CallDescriptor> calls(static_cast<size_t>(size()));
  if (Status status = host_->AllGather(std::as_bytes(std::span(&call.what, 1)),
                                       std::as_writable_bytes(std::span(calls)), call.timeout);
      !status.ok()) {
    return Fail(Annotate(status, call.Name()));
  }
  for (int peer = 0; peer < size(); ++peer) {
    const CallDescriptor& theirs = calls[static_cast<size_t>(peer)];
    if (theirs != call.what) return Fail(call.Disagreement(rank(), peer, theirs));
  }
  return OkStatus();
}

Status NcclCollective::WaitFor(const std::string& what, bool stream, absl::Duration timeout) {
  const absl::Duration begin = clock_->Elapsed();
  while (true) {
    const int result = library_->CommGetAsyncError();
    if (result != kNcclSuccess && result != kNcclInProgress) {
      return Fail(Aborted("{}: NCCL: {}", what, library_->Explain(result)));
    }
    if (result == kNcclSuccess) {
      if (!stream) return OkStatus();
      StatusOr<bool> done = library_->StreamIsDone();
      if (!done.ok()) return Fail(Annotate(done.status(), what));
      if (*done) return OkStatus();
    }
    const absl::Duration waited = clock_->Elapsed() - begin;
    if (AbortedWithin(waited < kEager ? absl::ZeroDuration() : kLookEvery)) {
      return Fail(Aborted("{}: rank {} was told to stop", what, rank()));
    }
    if (waited >= timeout) {
      return Fail(DeadlineExceeded(
          "{}: every rank began it, but NCCL did not end it within {}; NCCL_DEBUG=INFO in the "
          "worker's environment says more",
          what, absl::FormatDuration(timeout)));
    }
  }
}

bool NcclCollective::AbortedWithin(absl::Duration wait) {
  absl::MutexLock lock(&mu_);
  if (wait > absl::ZeroDuration()) mu_.AwaitWithTimeout(absl::Condition(&aborted_), wait);
  return aborted_;
}

// Peers are freed as well: their next look at the collective underneath ends them.
Status NcclCollective::Fail(Status status) {
  if (failure_.ok()) {
    failure_ = std::move(status);
    library_->CommAbort();
    host_->Abort();
  }
  return failure_;
}

}  // namespace trainyard::worker

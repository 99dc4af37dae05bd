// Keeps one bidirectional stream to the coordinator alive: dials, sends what the owner has, hands
// over what comes, and dials again 0.1 s to 2 s after it broke. Losing the coordinator is no error
// here.
#pragma once

#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/status.h"
#include "common/thread.h"
#include "common/wire/status.h"

namespace trainyard::worker {

template <class Out, class In>
class Stream {
 public:
  // All are called from the stream's own threads: `receive` from one, the others from another, so
  // the owner guards what they share. They must not destroy the stream.
  struct Owner {
    // Starts the call; the context carries the token already (or `prepare` adds it).
    std::function<std::unique_ptr<grpc::ClientReaderWriterInterface<Out, In>>(grpc::ClientContext*)>
        dial;
    std::function<void()> began;               // a new call; nothing is sent yet
    std::function<std::optional<Out>()> next;  // what to send now, if anything
    std::function<void(const In&)> receive;
    std::function<void(const Status&)> ended;  // the call is over, and why
  };
  // `silent_after`: a call on which nothing was received for so long although something was sent is
  // given up. Shorter finds a stopped peer sooner; costs false alarms on a busy machine.
  Stream(std::string name, Owner owner, absl::Duration silent_after, const Clock& clock)
      : name_(std::move(name)),
        owner_(std::move(owner)),
        silent_after_(silent_after),
        clock_(clock),
        thread_(name_, [this] { Run(); }) {}

  ~Stream() {
    {
      absl::MutexLock lock(&mu_);
      stop_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    thread_.Join();
  }

  // There may be something to send. Also gives up a call that is silent for too long, for which the
  // owner calls it at least every second.
  void Wake() {
    absl::MutexLock lock(&mu_);
    wake_ = true;
    if (context_ != nullptr && unanswered_ && clock_.Elapsed() - last_heard_ > silent_after_)
      context_->TryCancel();
  }

 private:
  void Run() {
    absl::Duration back_off = kBackOffMin;
    while (true) {
      const bool was_heard = RunCall();
      back_off = was_heard ? kBackOffMin : std::min(back_off * 2, kBackOffMax);
      absl::MutexLock lock(&mu_);
      if (mu_.AwaitWithTimeout(absl::Condition(&stop_), back_off)) return;
    }
  }

  // One call from dialling to its end; true if the coordinator said anything on it.
  bool RunCall() {
    grpc::ClientContext context;
    {
      absl::MutexLock lock(&mu_);
      if (stop_) return false;
      context_ = &context;
      broken_ = heard_ = false;
      last_heard_ = clock_.Elapsed();
      unanswered_ = false;
    }
    auto call = owner_.dial(&context);
    owner_.began();
    Thread reader(name_ + "-in", [&] { Read(*call); });
    // A call that broke has its reason on the way; cancelling would hide it.
    if (!Write(*call)) context.TryCancel();
    reader.Join();
    const Status status = FromGrpc(call->Finish());
    {
      absl::MutexLock lock(&mu_);
      context_ = nullptr;
    }
    owner_.ended(status);
    absl::MutexLock lock(&mu_);
    return heard_;
  }

  void Read(grpc::ClientReaderWriterInterface<Out, In>& call) {
    In message;
    while (call.Read(&message)) {
      {
        absl::MutexLock lock(&mu_);
        heard_ = true;
        unanswered_ = false;
        last_heard_ = clock_.Elapsed();
      }
      owner_.receive(message);
    }
    absl::MutexLock lock(&mu_);
    broken_ = true;
  }

  // Sends until the call breaks (true) or is to end (false).
  bool Write(grpc::ClientReaderWriterInterface<Out, In>& call) {
    while (WaitForWork()) {
      while (std::optional<Out> message = owner_.next()) {
        {
          absl::MutexLock lock(&mu_);
          if (!std::exchange(unanswered_, true)) last_heard_ = clock_.Elapsed();
        }
        if (!call.Write(*message)) return true;
      }
    }
    absl::MutexLock lock(&mu_);
    return broken_;
  }

  // False when the call is over or is to end. Now and then the owner is asked without a Wake.
  bool WaitForWork() {
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(this, &Stream::HasNews), absl::Milliseconds(500));
    wake_ = false;
    return !stop_ && !broken_;
  }
  bool HasNews() const { return stop_ || broken_ || wake_; }

  static constexpr absl::Duration kBackOffMin = absl::Milliseconds(100);
  static constexpr absl::Duration kBackOffMax = absl::Seconds(2);

  const std::string name_;
  const Owner owner_;
  const absl::Duration silent_after_;
  const Clock& clock_;

  mutable absl::Mutex mu_;
  grpc::ClientContext* context_ = nullptr;  // of the call under way
  bool stop_ = false;
  bool wake_ = false;
  bool broken_ = false;      // the reader is at its end
  bool heard_ = false;       // something was received on this call
  bool unanswered_ = false;  // something was sent since
  absl::Duration last_heard_;

  Thread thread_;  // last: it uses all of the above
};

}  // namespace trainyard::worker

// The three shapes of a stream. Each goes on in steps on the Stepper's threads, one step at a time,
// with at most one message in each direction in memory: a peer that does not read costs that much
// and nothing more. gRPC's callbacks only note what happened and wake the stream.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "common/wire/status.h"
#include "coordinator/service/runtime.h"

namespace trainyard::coordinator {

// For a call that may not go on: answers and goes away.
template <class Reactor>
class RefusedStream final : public Reactor {
 public:
  RefusedStream(CallRecord record, const Status& status) {
    record.Answered(status.code());
    this->Finish(ToGrpc(status));
  }
  void OnDone() override { delete this; }
};

// What the shapes share: life from Begin to OnDone, waking, ending.
template <class Reactor>
class StreamBase : public Reactor, public Stream {
 public:
  StreamBase(ServiceRuntime& runtime, CallRecord record) : runtime_(runtime), record_(record) {
    runtime_.StreamBorn();
  }
  ~StreamBase() override { runtime_.StreamGone(); }

  // Lives from here until gRPC is done with it. `job`: what it follows; empty for none.
  void Begin(const JobId& job) {
    self_ = std::static_pointer_cast<StreamBase>(shared_from_this());
    if (const Status status = runtime_.hub().Add(self_, job); !status.ok()) EndWith(status);
    Start();
    Wake();
  }
  void EndWith(Status status) final {
    {
      absl::MutexLock lock(&mu_);
      if (!end_.has_value()) end_ = std::move(status);
    }
    Wake();
  }
  void OnCancel() final {
    gone_ = true;
    EndWith(Cancelled("the other side went away"));
  }
  void OnDone() final {
    runtime_.hub().Remove(this);
    const auto self = std::move(self_);  // whoever steps or wakes it now may still hold it
  }

 protected:
  virtual void Start() {}
  void Wake() { runtime_.stepper().Wake(shared_from_this()); }
  // Called from steps only, as are all of gRPC's Start* and Finish.
  bool finished() const { return finished_; }
  std::optional<Status> end() const {
    absl::MutexLock lock(&mu_);
    return end_;
  }
  void FinishNow(const Status& status) {
    finished_ = true;
    record_.Answered(status.code());
    this->Finish(ToGrpc(status));
  }

  ServiceRuntime& runtime_;
  CallRecord record_;
  std::atomic<bool> gone_ = false;

 private:
  std::shared_ptr<StreamBase> self_;
  bool finished_ = false;
  mutable absl::Mutex mu_;
  std::optional<Status> end_ ABSL_GUARDED_BY(mu_);
};

// Server streaming: the subclass says what comes next whenever the client takes more.
template <class Response>
class OutStream : public StreamBase<grpc::ServerWriteReactor<Response>> {
 public:
  using StreamBase<grpc::ServerWriteReactor<Response>>::StreamBase;
  void OnWriteDone(bool ok) final {
    writing_ = false;
    if (ok) {
      this->record_.Sent();
      this->Wake();
    } else {
      this->EndWith(Cancelled("the client went away"));
    }
  }

 protected:
  enum class Next { kMessage, kNothingYet, kEnd };
  // Fills `message`, which is empty. May block on files.
  virtual StatusOr<Next> Fill(Response* message) = 0;

 private:
  void Step() final {
    if (this->finished() || writing_) return;
    if (const auto end = this->end()) return this->FinishNow(*end);
    response_.Clear();
    const StatusOr<Next> next = Fill(&response_);
    if (!next.ok()) return this->FinishNow(next.status());
    if (*next == Next::kEnd) return this->FinishNow(OkStatus());
    if (*next == Next::kNothingYet) return;
    writing_ = true;
    this->StartWrite(&response_);
  }

  std::atomic<bool> writing_ = false;
  Response response_;
};

// Client streaming: one message after the other, then the answer.
template <class Request>
class InStream : public StreamBase<grpc::ServerReadReactor<Request>> {
 public:
  using StreamBase<grpc::ServerReadReactor<Request>>::StreamBase;
  void OnReadDone(bool ok) final {
    (ok ? have_read_ : read_all_) = true;
    this->Wake();
  }

 protected:
  enum class Taken { kGoOn, kAnswerNow };
  // May block on small files. An error is the answer.
  virtual StatusOr<Taken> Take(Request& request) = 0;
  // The client has sent everything: works on it elsewhere, then calls Completed.
  virtual void Complete() = 0;
  void Completed(Status status) {
    {
      absl::MutexLock lock(&answer_mu_);
      answer_ = std::move(status);
    }
    this->Wake();
  }
  // Fills the response of a call that went well.
  virtual void FillAnswer() = 0;

 private:
  void Start() final { this->StartRead(&request_); }
  void Step() final {
    if (this->finished()) return;
    if (const auto end = this->end()) return this->FinishNow(*end);
    if (have_read_.exchange(false)) {
      this->record_.Received();
      const StatusOr<Taken> taken = Take(request_);
      if (!taken.ok()) return this->FinishNow(taken.status());
      if (*taken == Taken::kAnswerNow) return Answer(OkStatus());
      this->StartRead(&request_);
    } else if (read_all_ && !std::exchange(completing_, true)) {
      Complete();
    }
    absl::ReleasableMutexLock lock(&answer_mu_);
    if (!answer_.has_value()) return;
    const Status answer = *answer_;
    lock.Release();
    Answer(answer);
  }
  void Answer(const Status& status) {
    if (status.ok()) FillAnswer();
    this->FinishNow(status);
  }

  std::atomic<bool> have_read_ = false;
  std::atomic<bool> read_all_ = false;
  bool completing_ = false;
  absl::Mutex answer_mu_;
  std::optional<Status> answer_ ABSL_GUARDED_BY(answer_mu_);
  Request request_;
};

// Both ways at once.
template <class Request, class Response>
class BidiStream : public StreamBase<grpc::ServerBidiReactor<Request, Response>> {
 public:
  using StreamBase<grpc::ServerBidiReactor<Request, Response>>::StreamBase;
  void OnReadDone(bool ok) final {
    (ok ? have_read_ : read_all_) = true;
    this->Wake();
  }
  void OnWriteDone(bool ok) final {
    writing_ = false;
    if (ok) {
      this->record_.Sent();
      this->Wake();
    } else {
      this->EndWith(Cancelled("the worker went away"));
    }
  }

 protected:
  // May block on files. An error ends the stream with it.
  virtual Status Take(Request& request) = 0;
  // False when there is nothing to say.
  virtual bool Fill(Response* message) = 0;
  // True while something is still to be said to a peer that has sent everything.
  virtual bool Owes() const { return false; }

 private:
  void Start() final { this->StartRead(&request_); }
  void Step() final {
    if (this->finished()) return;
    if (const auto end = this->end()) {
      if (!writing_) this->FinishNow(*end);
      return;
    }
    if (have_read_.exchange(false)) {
      this->record_.Received();
      if (Status status = Take(request_); !status.ok()) return this->EndWith(std::move(status));
      this->StartRead(&request_);
    }
    if (writing_) return;
    response_.Clear();
    if (Fill(&response_)) {
      writing_ = true;
      this->StartWrite(&response_);
    } else if (read_all_ && !have_read_ && !Owes()) {
      this->FinishNow(OkStatus());
    }
  }

  std::atomic<bool> have_read_ = false;
  std::atomic<bool> read_all_ = false;
  std::atomic<bool> writing_ = false;
  Request request_;
  Response response_;
};

}  // namespace trainyard::coordinator

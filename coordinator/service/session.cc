#include "coordinator/service/session.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "coordinator/service/convert.h"

namespace trainyard::coordinator {

Session::~Session() {
  if (!worker_.empty()) sessions_.Leave(worker_, this);
}

void Session::DesiredHasChanged() {
  push_ = true;
  Wake();
}

Status Session::Take(v1::WorkerReport& proto) {
  ASSIGN_OR_RETURN(const WorkerReport report, ReportFromProto(proto));
  if (worker_.empty()) {
    worker_ = report.worker;
    sessions_.Enter(worker_, std::static_pointer_cast<Session>(shared_from_this()));
    spdlog::info("worker {} at {} is connected", worker_.value, report.host);
  } else if (report.worker != worker_) {
    return WithField(InvalidArgument("this session is worker {}'s, the report says {}",
                                     worker_.value, report.worker.value),
                     "worker_id");
  }
  push_ = false;  // the answer is newer than what was to be pushed
  ASSIGN_OR_RETURN(const Answer<DesiredState> answer,
                   runtime_.context().coordinator.Report(report));
  SendWhenDurable(answer);
  return OkStatus();
}

void Session::SendWhenDurable(const Answer<DesiredState>& answer) {
  v1::DesiredState message = DesiredToProto(answer.value);
  int64_t number;
  {
    absl::MutexLock lock(&mu_);
    number = ++asked_;
  }
  runtime_.context().store.WhenDurable(
      answer.durable_after, [self = std::static_pointer_cast<Session>(shared_from_this()), number,
                             message = std::move(message)](Status status) mutable {
        if (!status.ok()) return self->EndWith(std::move(status));
        {
          absl::MutexLock lock(&self->mu_);
          ++self->settled_;
          if (number > self->ready_number_) {
            self->ready_number_ = number;
            // What replaces an answer that was not sent yet answers the report in its place.
            if (self->ready_.has_value() && message.report_number() < self->ready_->report_number())
              message.set_report_number(self->ready_->report_number());
            self->ready_ = std::move(message);
          }
        }
        self->Wake();
      });
}

bool Session::Fill(v1::DesiredState* message) {
  if (!worker_.empty() && push_.exchange(false)) {
    const auto desired = runtime_.context().coordinator.Desired(worker_);
    if (desired.ok()) SendWhenDurable(*desired);
  }
  absl::MutexLock lock(&mu_);
  if (!ready_.has_value()) return false;
  *message = *std::move(ready_);
  ready_.reset();
  return true;
}

bool Session::Owes() const {
  absl::MutexLock lock(&mu_);
  return ready_.has_value() || settled_ < asked_;
}

}  // namespace trainyard::coordinator

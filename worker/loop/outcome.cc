#include "worker/loop/outcome.h"

#include <utility>

namespace trainyard::worker {
namespace {

std::string ReasonByCode(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kPermissionDenied:
    case StatusCode::kUnimplemented:
      return kBadInput;
    case StatusCode::kResourceExhausted:
      return kOutOfMemory;
    case StatusCode::kDataLoss:
      return kDataDamaged;
    default:
      return kInternal;
  }
}

}  // namespace

link::Outcome Succeeded(std::string message) {
  return {.kind = link::OutcomeKind::kSucceeded,
          .code = "OK",
          .reason = "",
          .message = std::move(message)};
}

link::Outcome Stopped(std::string reason, std::string message) {
  return {.kind = link::OutcomeKind::kStopped,
          .code = "OK",
          .reason = std::move(reason),
          .message = std::move(message)};
}

link::Outcome OutcomeOf(const Status& status) {
  link::Outcome outcome = link::FailedOutcome(status);
  // Without a reason of its own a status is named after its code.
  outcome.reason = ReasonOf(status);
  if (outcome.reason == absl::StatusCodeToString(status.code())) {
    outcome.reason = ReasonByCode(status.code());
  }
  if (outcome.reason == kStopped || outcome.reason == kAgentLost) {
    return Stopped(outcome.reason, outcome.message);
  }
  return outcome;
}

Status StopRequested(std::string_view what) {
  return WithReason(Cancelled("told to stop now, before {}", what), kStopped);
}

Status PeerError(const Status& status) {
  if (status.ok()) return status;
  const bool lost = absl::IsAborted(status) || absl::IsDeadlineExceeded(status);
  return WithReason(status, lost ? kPeerLost : kInternal);
}

}  // namespace trainyard::worker

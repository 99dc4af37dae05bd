// Status is the way every function that can fail says so. One constructor per code, formatted with
// fmt; a code means one thing everywhere:
//   InvalidArgument     the caller asked for something wrong; the message names field and remedy
//   NotFound            what was named does not exist
//   AlreadyExists       what was to be made exists with other contents
//   FailedPrecondition  a stale attempt number, or a state that forbids it
//   ResourceExhausted   a bound was reached (disk, memory, queue)
//   Unavailable         try again: the other side is away
//   DeadlineExceeded    it took longer than allowed
//   DataLoss            stored bytes are not what was written: name the file, do not use it
//   Unimplemented       known, but not built yet; the message names what is missing
//   Internal            a library failed in a way that is ours to look into
//   Aborted             somebody else changed it first (etag), or it was told to stop
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace trainyard {

using absl::OkStatus;
using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

// UTF-8 that says what `text` is: bytes that are none become \xNN.
std::string Printable(std::string_view text);

// An argument of a message, text made printable: messages quote bytes from outside, clients take
// only UTF-8, and fmt 9's {:?} may abort on anything else.
template <class Arg>
decltype(auto) Said(const Arg& arg) {
  if constexpr (std::is_convertible_v<const Arg&, std::string_view>) {
    return Printable(arg);
  } else {
    return (arg);
  }
}

template <class... Args>
Status MakeStatus(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::vformat(format, fmt::make_format_args(Said(args)...)));
}

#define TRAINYARD_STATUS_CODE(Name)                                              \
  template <class... Args>                                                       \
  Status Name(fmt::format_string<Args...> format, Args&&... args) {              \
    return MakeStatus(StatusCode::k##Name, format, std::forward<Args>(args)...); \
  }
TRAINYARD_STATUS_CODE(Aborted)
TRAINYARD_STATUS_CODE(AlreadyExists)
TRAINYARD_STATUS_CODE(Cancelled)
TRAINYARD_STATUS_CODE(DataLoss)
TRAINYARD_STATUS_CODE(DeadlineExceeded)
TRAINYARD_STATUS_CODE(FailedPrecondition)
TRAINYARD_STATUS_CODE(Internal)
TRAINYARD_STATUS_CODE(InvalidArgument)
TRAINYARD_STATUS_CODE(NotFound)
TRAINYARD_STATUS_CODE(PermissionDenied)
TRAINYARD_STATUS_CODE(ResourceExhausted)
TRAINYARD_STATUS_CODE(Unauthenticated)
TRAINYARD_STATUS_CODE(Unavailable)
TRAINYARD_STATUS_CODE(Unimplemented)
#undef TRAINYARD_STATUS_CODE

// The message, as a std::string (Debian's absl has a string_view of its own).
std::string MessageOf(const Status& status);

// A machine-readable reason in UPPER_SNAKE, e.g. "JOB_NOT_FOUND", carried beside the message and
// sent to clients as google.rpc.ErrorInfo. ReasonOf gives the status code's name when none is set.
Status WithReason(Status status, std::string_view reason);
std::string ReasonOf(const Status& status);

// The field of a spec or request that the error is about, e.g. "train.learning_rate"; sent to
// clients in ErrorInfo.metadata["field"]. Empty when none is set.
Status WithField(Status status, std::string_view field);
std::string FieldOf(const Status& status);

// The same error with `where: ` in front of its message; OK stays OK.
Status Annotate(const Status& status, std::string_view where);

// A Status for errno: ENOSPC, EDQUOT and EFBIG are ResourceExhausted, ENOENT is NotFound, EACCES
// and EPERM PermissionDenied, anything else Internal.
Status ErrnoStatus(int error, std::string_view what);

}  // namespace trainyard

#define RETURN_IF_ERROR(expression)                                           \
  do {                                                                        \
    if (::absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define TRAINYARD_CONCAT_(a, b) a##b
#define TRAINYARD_CONCAT(a, b) TRAINYARD_CONCAT_(a, b)
#define ASSIGN_OR_RETURN(lhs, expression) \
  ASSIGN_OR_RETURN_(TRAINYARD_CONCAT(status_or_, __LINE__), lhs, expression)
#define ASSIGN_OR_RETURN_(holder, lhs, expression) \
  auto holder = (expression);                      \
  if (!holder.ok()) return holder.status();        \
  lhs = *std::move(holder)

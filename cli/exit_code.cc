#include "cli/exit_code.h"

#include <cstdio>

namespace trainyard::cli {

ExitCode ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kOk;
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
      return kUsage;
    case StatusCode::kNotFound:
      return kNotFound;
    case StatusCode::kUnauthenticated:
    case StatusCode::kPermissionDenied:
      return kDenied;
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kResourceExhausted:
      return kUnavailable;
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kAborted:
      return kConflict;
    default:
      return kJobFailed;
  }
}

int Fail(const Status& status) {
  std::fprintf(stderr, "error: %s\n", MessageOf(status).c_str());
  const std::string field = FieldOf(status);
  const std::string reason = ReasonOf(status);
  if (!field.empty()) std::fprintf(stderr, "  field:  %s\n", field.c_str());
  if (!reason.empty()) std::fprintf(stderr, "  reason: %s\n", reason.c_str());
  return ExitCodeOf(status);
}

int NoJson(const std::string& command, const std::string& instead) {
  return Fail(InvalidArgument("{} has no answer in JSON or YAML{}", command, instead));
}

}  // namespace trainyard::cli

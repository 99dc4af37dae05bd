#include "common/status.h"

#include <absl/strings/cord.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "common/files.h"

namespace trainyard {
namespace {

constexpr char kReasonUrl[] = "trainyard/reason";
constexpr char kFieldUrl[] = "trainyard/field";

Status WithPayload(Status status, const char* url, std::string_view value) {
  if (!status.ok()) status.SetPayload(url, absl::Cord(std::string(value)));
  return status;
}

std::string PayloadOf(const Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  for (size_t bad; (bad = FindInvalidUtf8(text)) != std::string_view::npos;) {
    fmt::format_to(std::back_inserter(printable), "{}\\x{:02x}", text.substr(0, bad),
                   static_cast<unsigned char>(text[bad]));
    text.remove_prefix(bad + 1);
  }
  return printable.append(text);
}

std::string MessageOf(const Status& status) {
  return std::string(status.message().data(), status.message().size());
}

Status WithReason(Status status, std::string_view reason) {
  return WithPayload(std::move(status), kReasonUrl, reason);
}

std::string ReasonOf(const Status& status) {
  std::string reason = PayloadOf(status, kReasonUrl);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

Status WithField(Status status, std::string_view field) {
  return WithPayload(std::move(status), kFieldUrl, field);
}

std::string FieldOf(const Status& status) { return PayloadOf(status, kFieldUrl); }

Status Annotate(const Status& status, std::string_view where) {
  if (status.ok()) return status;
  Status annotated(status.code(), fmt::format("{}: {}", where, MessageOf(status)));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = fmt::format("{}: {}", what, std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Status(StatusCode::kResourceExhausted, message);
    case ENOENT:
      return Status(StatusCode::kNotFound, message);
    case EACCES:
    case EPERM:
      return Status(StatusCode::kPermissionDenied, message);
    default:
      return Status(StatusCode::kInternal, message);
  }
}

}  // namespace trainyard

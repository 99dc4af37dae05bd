#include "common/wire/status.h"

#include <algorithm>
#include <cctype>

#include "google/rpc/error_details.pb.h"

namespace trainyard {
namespace {

constexpr char kDomain[] = "trainyard";
constexpr char kField[] = "field";
// HTTP/2 metadata of a call is capped at 8 KiB in all by default; a longer message would turn the
// error into another one.
constexpr size_t kMaxMessage = 2048;

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message = MessageOf(status);
  if (message.size() > kMaxMessage) message = message.substr(0, kMaxMessage) + " ...";
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonOf(status));
  info.set_domain(kDomain);
  if (std::string field = FieldOf(status); !field.empty())
    (*info.mutable_metadata())[kField] = std::move(field);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  details.add_details()->PackFrom(info);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  Status result(static_cast<StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return result;
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (!detail.UnpackTo(&info) || info.domain() != kDomain) continue;
    // A reason that is only the code's name is what ReasonOf makes up by itself.
    if (!info.reason().empty() && info.reason() != ReasonOf(result))
      result = WithReason(std::move(result), info.reason());
    const auto field = info.metadata().find(kField);
    if (field != info.metadata().end()) result = WithField(std::move(result), field->second);
  }
  return result;
}

}  // namespace trainyard

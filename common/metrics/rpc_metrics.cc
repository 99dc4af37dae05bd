#include "common/metrics/rpc_metrics.h"

#include <array>

#include "common/require.h"

namespace trainyard {
namespace {

const prometheus::Histogram::BucketBoundaries kBuckets = {.001, .0025, .005, .01, .025, .05, .1,
                                                          .25,  .5,    1,    2.5, 5,    10};

std::string_view TypeName(RpcType type) {
  switch (type) {
    case RpcType::kUnary:
      return "unary";
    case RpcType::kClientStream:
      return "client_stream";
    case RpcType::kServerStream:
      return "server_stream";
    case RpcType::kBidiStream:
      return "bidi_stream";
  }
  return "unknown";
}

prometheus::Family<prometheus::Counter>& CounterOf(prometheus::Registry& registry, const char* name,
                                                   const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

}  // namespace

std::string_view RpcCodeName(int code) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return code >= 0 && code < static_cast<int>(kNames.size()) ? kNames[static_cast<size_t>(code)]
                                                             : "Unknown";
}

RpcMetrics::RpcMetrics(prometheus::Registry& registry)
    : started_(CounterOf(registry, "grpc_server_started_total", "RPCs begun.")),
      handled_(CounterOf(registry, "grpc_server_handled_total", "RPCs answered, by status code.")),
      received_(
          CounterOf(registry, "grpc_server_msg_received_total", "Messages received by RPCs.")),
      sent_(CounterOf(registry, "grpc_server_msg_sent_total", "Messages sent by RPCs.")),
      seconds_(prometheus::BuildHistogram()
                   .Name("grpc_server_handling_seconds")
                   .Help("Time from an RPC's begin to its answer.")
                   .Register(registry)) {}

void RpcMetrics::AddMethod(std::string_view full_name, RpcType type) {
  const size_t slash = full_name.rfind('/');
  REQUIRE(full_name.starts_with('/') && slash > 0);
  auto method = std::make_unique<Method>();
  method->labels_ = {{"grpc_type", std::string(TypeName(type))},
                     {"grpc_service", std::string(full_name.substr(1, slash - 1))},
                     {"grpc_method", std::string(full_name.substr(slash + 1))}};
  method->handled_ = &handled_;
  method->started_ = &started_.Add(method->labels_);
  method->received_ = &received_.Add(method->labels_);
  method->sent_ = &sent_.Add(method->labels_);
  method->seconds_ = &seconds_.Add(method->labels_, kBuckets);
  methods_[std::string(full_name)] = std::move(method);
}

RpcMetrics::Method& RpcMetrics::Of(std::string_view full_name) {
  const auto found = methods_.find(full_name);
  REQUIRE(found != methods_.end());
  return *found->second;
}

void RpcMetrics::Method::Handled(int code, absl::Duration took) {
  std::map<std::string, std::string> labels = labels_;
  labels["grpc_code"] = RpcCodeName(code);
  handled_->Add(labels).Increment();
  seconds_->Observe(absl::ToDoubleSeconds(took));
}

}  // namespace trainyard

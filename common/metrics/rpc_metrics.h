// The gRPC ecosystem's server metrics, so that ready-made dashboards work:
// grpc_server_{started,handled,msg_received,msg_sent}_total and grpc_server_handling_seconds with
// grpc_type, grpc_service, grpc_method, grpc_code.
#pragma once

#include <absl/time/time.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace trainyard {

enum class RpcType { kUnary, kClientStream, kServerStream, kBidiStream };

// Thread-safe once all methods are added.
class RpcMetrics {
 public:
  // One method's counters.
  class Method {
   public:
    void Started() { started_->Increment(); }
    void Received() { received_->Increment(); }
    void Sent() { sent_->Increment(); }
    // `code`: gRPC's number of the status.
    void Handled(int code, absl::Duration took);

   private:
    friend class RpcMetrics;
    std::map<std::string, std::string> labels_;
    prometheus::Family<prometheus::Counter>* handled_ = nullptr;
    prometheus::Counter *started_ = nullptr, *received_ = nullptr, *sent_ = nullptr;
    prometheus::Histogram* seconds_ = nullptr;
  };

  // `registry` outlives this.
  explicit RpcMetrics(prometheus::Registry& registry);
  // `full_name`: "/trainyard.v1.JobService/CreateJob". Its series exist from now on, at zero.
  void AddMethod(std::string_view full_name, RpcType type);
  // Of a method that was added.
  Method& Of(std::string_view full_name);

 private:
  prometheus::Family<prometheus::Counter>&started_, &handled_, &received_, &sent_;
  prometheus::Family<prometheus::Histogram>& seconds_;
  std::map<std::string, std::unique_ptr<Method>, std::less<>> methods_;
};

// "OK", "InvalidArgument", ...: the names the ecosystem's dashboards expect.
std::string_view RpcCodeName(int code);

}  // namespace trainyard

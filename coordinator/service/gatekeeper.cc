#include "coordinator/service/gatekeeper.h"

#include <map>
#include <string>
#include <utility>

namespace trainyard::coordinator {
namespace {

namespace ge = grpc::experimental;

class Gatekeeper final : public ge::Interceptor {
 public:
  Gatekeeper(ServiceRuntime& runtime, ge::ServerRpcInfo* info) : runtime_(runtime), info_(info) {}

  void Intercept(ge::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            ge::InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      if (const Status status = Check(*methods->GetRecvInitialMetadata()); !status.ok())
        info_->server_context()->TryCancel();
    }
    methods->Proceed();
  }

 private:
  Status Check(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
    const std::string method = info_->method();
    const std::string peer = info_->server_context()->peer();
    const MethodAccess* entry = FindAccess(method);
    if (entry == nullptr)
      return runtime_.Deny(PermissionDenied("{} is open to nobody", method), peer, method);
    if (entry->access.kind == Access::Kind::kOpen) return OkStatus();
    const auto header = metadata.find("authorization");
    std::string_view token;
    if (header != metadata.end())
      token = BearerToken({header->second.data(), header->second.size()});
    const StatusOr<Principal> principal = runtime_.context().tokens.Authenticate(token);
    if (!principal.ok()) return runtime_.Deny(principal.status(), peer, method);
    const Status status = CheckAccess(*principal, entry->access, method);
    return status.ok() ? status : runtime_.Deny(status, peer, method);
  }

  ServiceRuntime& runtime_;
  ge::ServerRpcInfo* const info_;
};

class Factory final : public ge::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(ServiceRuntime& runtime) : runtime_(runtime) {}
  ge::Interceptor* CreateServerInterceptor(ge::ServerRpcInfo* info) override {
    const std::string_view method = info->method();
    if (method.starts_with("/trainyard.v1.")) return nullptr;  // their handlers ask
    return new Gatekeeper(runtime_, info);
  }

 private:
  ServiceRuntime& runtime_;
};

}  // namespace

std::vector<std::unique_ptr<ge::ServerInterceptorFactoryInterface>> GatekeepersFor(
    ServiceRuntime& runtime) {
  std::vector<std::unique_ptr<ge::ServerInterceptorFactoryInterface>> factories;
  factories.push_back(std::make_unique<Factory>(runtime));
  return factories;
}

}  // namespace trainyard::coordinator

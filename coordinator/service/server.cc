#include "coordinator/service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "coordinator/service/blob_service.h"
#include "coordinator/service/checkpoint_service.h"
#include "coordinator/service/gatekeeper.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/worker_service.h"

namespace trainyard::coordinator {
namespace {

constexpr int kStreamsPerConnection = 100;
constexpr int kMetadataBytes = 16 << 10;
constexpr size_t kMemoryBytes = size_t{512} << 20;  // of gRPC's own buffers
constexpr absl::Duration kDestructorGrace = absl::Seconds(5);
constexpr absl::Duration kStreamsGone = absl::Seconds(10);

class GrpcServerImpl final : public GrpcServer {
 public:
  explicit GrpcServerImpl(const ServiceContext& context)
      : runtime_(context),
        jobs_(runtime_),
        workers_(runtime_),
        blobs_(runtime_),
        checkpoints_(runtime_) {}

  ~GrpcServerImpl() override {
    if (server_ == nullptr) return;
    Drain(kDestructorGrace);
    server_.reset();
    // Callbacks of store and history may hold streams a moment longer.
    if (!runtime_.WaitForStreams(kStreamsGone))
      spdlog::error("streams are still held {} s after the server stopped",
                    absl::ToInt64Seconds(kStreamsGone));
  }

  Status Listen(const GrpcServerOptions& options) {
    ASSIGN_OR_RETURN(const auto credentials, MakeServerCredentials(options.address, options.tls,
                                                                   options.insecure_i_understand));
    static const bool once = [] {
      grpc::EnableDefaultHealthCheckService(true);
      return true;
    }();
    (void)once;
    // The plugin registers itself with every builder that comes after it.
    if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options.address, credentials, &port);
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
    // Two daemons must not share a port by accident.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Clients hold their connections open with a ping a minute (common/wire/channel.cc).
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 30'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    grpc::ResourceQuota quota("coordinator");
    quota.Resize(kMemoryBytes);
    builder.SetResourceQuota(quota);
    for (grpc::Service* service :
         std::initializer_list<grpc::Service*>{&jobs_, &workers_, &blobs_, &checkpoints_})
      builder.RegisterService(service);
    builder.experimental().SetInterceptorCreators(GatekeepersFor(runtime_));
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      server_ = nullptr;
      return Unavailable("cannot listen on {}: is another coordinator running there?",
                         options.address);
    }
    address_ = options.address.substr(0, options.address.rfind(':')) + ":" + std::to_string(port);
    ListenToCoordinator();
    return OkStatus();
  }

  std::string address() const override { return address_; }

  void Drain(absl::Duration grace) override {
    if (std::exchange(drained_, true)) return;
    server_->GetHealthCheckService()->SetServingStatus(false);
    // First ours: Shutdown waits for every call and would wait for streams for ever.
    runtime_.hub().EndAll(WithReason(
        Unavailable("the coordinator is stopping: connect again in a moment"), "DRAINING"));
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(grace));
    server_->Wait();
    runtime_.context().coordinator.SetListeners({[](const JobId&) {}, [](const WorkerId&) {}});
  }

 private:
  void ListenToCoordinator() {
    runtime_.context().coordinator.SetListeners(
        {[this](const JobId& job) { runtime_.hub().WakeJob(job); },
         [this](const WorkerId& worker) { workers_.sessions().Push(worker); }});
  }

  ServiceRuntime runtime_;
  JobServiceImpl jobs_;
  WorkerServiceImpl workers_;
  BlobServiceImpl blobs_;
  CheckpointServiceImpl checkpoints_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  bool drained_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                        const ServiceContext& context) {
  auto server = std::make_unique<GrpcServerImpl>(context);
  RETURN_IF_ERROR(server->Listen(options));
  return server;
}

}  // namespace trainyard::coordinator

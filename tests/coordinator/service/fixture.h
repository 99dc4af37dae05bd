// A real coordinator behind real gRPC on a free loopback port, with a store, a history and blobs in
// a temporary folder.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/blob_store.h"
#include "common/clock.h"
#include "common/thread.h"
#include "common/wire/channel.h"
#include "common/wire/status.h"
#include "coordinator/coordinator.h"
#include "coordinator/history/history.h"
#include "coordinator/service/auth.h"
#include "coordinator/service/server.h"
#include "coordinator/service/usage.h"
#include "coordinator/store/store.h"
#include "coordinator/store/writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "trainyard/v1/blob_service.grpc.pb.h"
#include "trainyard/v1/checkpoint_service.grpc.pb.h"
#include "trainyard/v1/job_service.grpc.pb.h"
#include "trainyard/v1/worker_service.grpc.pb.h"

namespace trainyard::coordinator {

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() { Start(); }
  ~ServiceTest() override { Stop(); }

  void Start();
  void Stop();
  // As after kill -9 and a start on the same disk, except that what is queued is still written.
  void Restart() {
    Stop();
    Start();
  }

  // A context with this token and a deadline.
  std::unique_ptr<grpc::ClientContext> As(const std::string& token) const;
  std::unique_ptr<grpc::ClientContext> AsAdmin() const { return As(admin_); }
  std::unique_ptr<grpc::ClientContext> AsWorker() const { return As(worker_); }

  // Stores `bytes` as a dataset; gives the digest.
  std::string PutDataset(const std::string& bytes);
  // A job that would be accepted: one rank, 400 steps, data that is stored.
  v1::CreateJobRequest Request(const std::string& name = "shakespeare");
  v1::Job Create(const v1::CreateJobRequest& request);
  // Waits until the job is as `wanted` says, by watching it. Gives it back.
  v1::Job WaitForState(const std::string& name, v1::JobState wanted);

  TempFolder folder_{FolderInMemory()};
  const SystemClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<StoreWriter> writer_;
  std::unique_ptr<History> history_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<TokenTable> tokens_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<MetricsRegistry> metrics_;
  std::unique_ptr<UsageMeter> usage_;
  std::unique_ptr<GrpcServer> server_;
  StopSignal stop_ticking_;
  Thread ticker_;
  std::string admin_, worker_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<v1::BlobService::Stub> blob_calls_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
};

// A worker of one slot that does as it is told: its ranks are spawned at once and then say what the
// test wants.
class FakeWorker {
 public:
  FakeWorker(v1::WorkerService::Stub& stub, std::unique_ptr<grpc::ClientContext> context,
             const std::string& id);
  ~FakeWorker();

  // Sends a report with what it has and takes what it should have once the coordinator has read
  // that. False when the stream has ended.
  bool Report();
  bool Receive();
  // Reports until it is told to have `n` ranks.
  void WaitForRanks(int n);
  // Ends the session; gives its status.
  Status Finish();

  v1::WorkerReport report;   // what it says next; ranks are kept as told
  v1::DesiredState desired;  // what it was told last

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerReport, v1::DesiredState>> stream_;
};

// "JOB_NOT_FOUND" of a failed call.
inline std::string ReasonOfCall(const grpc::Status& status) { return ReasonOf(FromGrpc(status)); }

}  // namespace trainyard::coordinator

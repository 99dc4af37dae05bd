// How the command line reaches a coordinator: where it is, which token, and stubs to call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "common/machine.h"
#include "common/status.h"
#include "trainyard/v1/blob_service.grpc.pb.h"
#include "trainyard/v1/checkpoint_service.grpc.pb.h"
#include "trainyard/v1/job_service.grpc.pb.h"

namespace trainyard::cli {

namespace v1 = ::trainyard::v1;

// Where things are; every field has a flag and an environment variable.
struct Place {
  std::filesystem::path home;  // --home, TRAINYARD_HOME, ~/.trainyard
  std::string coordinator;  // --coordinator, TRAINYARD_COORDINATOR; empty: what `up` wrote in home
  std::string token_file;   // --token-file, TRAINYARD_TOKEN_FILE; empty: home/tokens/client
  std::string tls_ca;       // --tls-ca, TRAINYARD_TLS_CA; empty: no TLS (loopback only)
  // --tls-cert, --tls-key, TRAINYARD_TLS_CERT, TRAINYARD_TLS_KEY: for a coordinator that demands
  // certificates of its clients (mTLS).
  std::string tls_cert, tls_key;
};

// The folder this program lies in; its sister programs are beside it.
std::filesystem::path ProgramFolder();

class Client {
 public:
  // Unavailable when no coordinator is known, saying how to start one; NotFound for the token file.
  static StatusOr<std::unique_ptr<Client>> Connect(const Place& place);

  v1::JobService::Stub& jobs() { return *jobs_; }
  v1::BlobService::Stub& blobs() { return *blobs_; }
  v1::CheckpointService::Stub& checkpoints() { return *checkpoints_; }
  const std::string& address() const { return address_; }

  // A context with the token; `seconds` > 0 sets a deadline (streams have none).
  void Prepare(grpc::ClientContext& context, int seconds) const;

  // Calls a unary method with a 30 s deadline; errors say where the coordinator was sought.
  template <class Request, class Response>
  StatusOr<Response> Call(auto& stub,
                          grpc::Status (std::remove_reference_t<decltype(stub)>::*method)(
                              grpc::ClientContext*, const Request&, Response*),
                          const Request& request, int seconds = 30) const {
    grpc::ClientContext context;
    Prepare(context, seconds);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return Explain(status);
    return response;
  }

  // A gRPC error as ours, with a hint where one helps.
  Status Explain(const grpc::Status& status) const;

 private:
  Client() = default;
  std::string address_;
  std::string token_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::BlobService::Stub> blobs_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
};

// "shakespeare", "job:shakespeare" and "projects/p/jobs/shakespeare" become the last.
std::string NameOfRef(const std::string& ref);
// "job:shakespeare@400", "shakespeare@latest" or "shakespeare" (its latest) as a checkpoint's
// resource name.
std::string CheckpointNameOfRef(std::string ref);

}  // namespace trainyard::cli

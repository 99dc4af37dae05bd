#include "cli/client.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/files.h"
#include "common/wire/channel.h"
#include "common/wire/status.h"

namespace trainyard::cli {
namespace {

// The address `trainyard up` (or the coordinator itself) wrote when it was bound.
StatusOr<std::string> AddressIn(const std::filesystem::path& home) {
  const auto path = home / "coordinator" / "addresses.json";
  const auto text = ReadFile(path, 1 << 16);
  if (!text.ok())
    return WithReason(Unavailable("no coordinator is known here ({} is not there); start one with "
                                  "`trainyard up`, or name one with --coordinator HOST:PORT",
                                  path.string()),
                      "NO_COORDINATOR");
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("grpc") || !json["grpc"].is_string())
    return DataLoss("{} does not name a gRPC address; restart the coordinator", path.string());
  return json["grpc"].get<std::string>();
}

}  // namespace

std::filesystem::path ProgramFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

StatusOr<std::unique_ptr<Client>> Client::Connect(const Place& place) {
  std::unique_ptr<Client> client(new Client());
  client->address_ = place.coordinator;
  if (client->address_.empty()) {
    ASSIGN_OR_RETURN(client->address_, AddressIn(place.home));
  }
  const std::filesystem::path token_file = place.token_file.empty()
                                               ? place.home / "tokens" / "client"
                                               : std::filesystem::path(place.token_file);
  ASSIGN_OR_RETURN(client->token_, ReadTokenFile(token_file));
  ChannelOptions options;
  options.address = client->address_;
  options.tls = {.ca = place.tls_ca, .cert = place.tls_cert, .key = place.tls_key};
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, OpenChannel(options));
  client->jobs_ = v1::JobService::NewStub(channel);
  client->blobs_ = v1::BlobService::NewStub(channel);
  client->checkpoints_ = v1::CheckpointService::NewStub(channel);
  return client;
}

void Client::Prepare(grpc::ClientContext& context, int seconds) const {
  PrepareCall(&context, token_, seconds > 0 ? absl::Seconds(seconds) : absl::InfiniteDuration());
}

Status Client::Explain(const grpc::Status& status) const {
  const Status ours = FromGrpc(status);
  if (ours.code() == StatusCode::kUnavailable || ours.code() == StatusCode::kDeadlineExceeded)
    return Annotate(ours, fmt::format("no answer from the coordinator at {} (is it running? "
                                      "`trainyard doctor` looks)",
                                      address_));
  return ours;
}

std::string NameOfRef(const std::string& ref) {
  if (ref.starts_with("projects/")) return ref;
  return "projects/default/jobs/" + (ref.starts_with("job:") ? ref.substr(4) : ref);
}

std::string CheckpointNameOfRef(std::string ref) {
  if (ref.starts_with("job:")) ref = ref.substr(4);
  const size_t at = ref.find('@');
  const std::string job = ref.substr(0, at);
  const std::string step = at == std::string::npos ? "latest" : ref.substr(at + 1);
  return fmt::format("{}/checkpoints/{}", NameOfRef(job), step);
}

}  // namespace trainyard::cli

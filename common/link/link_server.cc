#include "common/link/link_server.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "common/link/telemetry_file.h"

namespace trainyard::link {
namespace {

constexpr uint32_t kHandshakePayloadBytes = 16 << 10;
constexpr size_t kMaxNewcomers = 4;

}  // namespace

StatusOr<std::unique_ptr<LinkServer>> LinkServer::Start(LinkServerOptions options,
                                                        const Clock& clock) {
  ASSIGN_OR_RETURN(UniqueFd listener, ListenOn(options.socket_path));
  ASSIGN_OR_RETURN(WakeFd wake, WakeFd::Create());
  std::unique_ptr<LinkServer> server(
      new LinkServer(std::move(options), clock, std::move(listener), std::move(wake)));
  server->thread_ = Thread("link-server", [raw = server.get()] { raw->Run(); });
  return server;
}

LinkServer::LinkServer(LinkServerOptions options, const Clock& clock, UniqueFd listener,
                       WakeFd wake)
    : options_(std::move(options)),
      clock_(clock),
      listener_(std::move(listener)),
      wake_(std::move(wake)),
      agent_left_(clock.Elapsed()) {}

LinkServer::~LinkServer() {
  stop_.Stop();
  wake_.Wake();
  thread_.Join();
  unlink(options_.socket_path.c_str());
}

std::optional<Directive> LinkServer::LatestDirective() const {
  absl::MutexLock lock(&mu_);
  return directive_;
}

StatusOr<Directive> LinkServer::WaitForDirective(
    const std::function<bool(const Directive&)>& wanted, absl::Duration timeout) const {
  const absl::Duration deadline = clock_.Elapsed() + timeout;
  absl::MutexLock lock(&mu_);
  while (!directive_.has_value() || !wanted(*directive_)) {
    const absl::Duration left = deadline - clock_.Elapsed();
    if (left <= absl::ZeroDuration()) {
      return DeadlineExceeded("no directive that was waited for came within {}",
                              absl::FormatDuration(timeout));
    }
    changed_.WaitWithTimeout(&mu_, left);
  }
  return *directive_;
}

void LinkServer::SetStatus(RankStatus status) {
  status.job = options_.job;
  status.attempt = options_.attempt;
  status.rank = options_.rank;
  std::string payload = Encode(status);
  {
    absl::MutexLock lock(&mu_);
    if (const Status pushed = endpoint_.Push(Channel::kControl, payload); !pushed.ok()) {
      spdlog::error("link: the status of this rank cannot be sent: {}", MessageOf(pushed));
    } else {
      said_ = std::move(payload);
    }
  }
  wake_.Wake();
}

void LinkServer::Publish(const MetricPoints& points) { PushTelemetry(Encode(points)); }
void LinkServer::Publish(const TrainerEvent& event) { PushTelemetry(Encode(event)); }

void LinkServer::PushTelemetry(std::string payload) {
  {
    absl::MutexLock lock(&mu_);
    const Status pushed = endpoint_.Push(Channel::kTelemetry, std::move(payload));
    if (!pushed.ok()) spdlog::error("link: telemetry cannot be sent: {}", MessageOf(pushed));
  }
  wake_.Wake();
}

absl::Duration LinkServer::SinceAgent() const {
  absl::MutexLock lock(&mu_);
  return agent_connected_ ? absl::ZeroDuration() : clock_.Elapsed() - agent_left_;
}

bool LinkServer::Flush(absl::Duration timeout) const {
  const absl::Duration deadline = clock_.Elapsed() + timeout;
  absl::MutexLock lock(&mu_);
  while (endpoint_.outgoing(Channel::kControl).messages() > 0 ||
         endpoint_.outgoing(Channel::kTelemetry).messages() > 0) {
    const absl::Duration left = deadline - clock_.Elapsed();
    if (left <= absl::ZeroDuration()) return false;
    changed_.WaitWithTimeout(&mu_, left);
  }
  return true;
}

StatusOr<bool> LinkServer::SaveUnsentTelemetry(const std::filesystem::path& path) const {
  std::vector<Frame> frames;
  {
    absl::MutexLock lock(&mu_);
    frames = endpoint_.outgoing(Channel::kTelemetry).Unacknowledged();
  }
  if (frames.empty()) return false;
  RETURN_IF_ERROR(WriteTelemetryFile(path, frames));
  return true;
}

uint64_t LinkServer::dropped() const {
  absl::MutexLock lock(&mu_);
  return endpoint_.outgoing(Channel::kTelemetry).dropped();
}

void LinkServer::Run() {
  while (!stop_.stopped()) {
    WaitForNews();
    ServeNewcomers();
    if (agent_connection_ != nullptr) {
      if (const Status served = ServeAgent(); !served.ok()) {
        spdlog::info("link: the agent's connection ends: {}", MessageOf(served));
        agent_connection_.reset();
        SayAgentLeft();
      }
    }
    Accept();
  }
}

void LinkServer::WaitForNews() {
  std::vector<pollfd> fds = {{wake_.fd(), POLLIN, 0}};
  for (const auto& newcomer : newcomers_) fds.push_back({newcomer->socket.fd(), POLLIN, 0});
  if (agent_connection_ != nullptr) {
    const bool write = agent_connection_->socket.WantsWrite();
    fds.push_back(
        {agent_connection_->socket.fd(), static_cast<short>(POLLIN | (write ? POLLOUT : 0)), 0});
  }
  // With all places taken, whoever dials next waits in the listen queue.
  if (newcomers_.size() < kMaxNewcomers) fds.push_back({listener_.get(), POLLIN, 0});
  const int timeout_ms = newcomers_.empty() ? -1 : 100;  // for the handshake's deadline
  poll(fds.data(), fds.size(), timeout_ms);              // an error is a turn without news
  wake_.Clear();
}

void LinkServer::Accept() {
  while (newcomers_.size() < kMaxNewcomers) {
    UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;
    if (const Status peer = CheckPeerUser(fd.get()); !peer.ok()) {
      spdlog::warn("link: refused: {}", MessageOf(peer));
      continue;
    }
    auto newcomer = std::make_unique<Connection>(
        Connection{.socket = FrameSocket(std::move(fd), kHandshakePayloadBytes),
                   .nonce = RandomHex(32),
                   .handshake_deadline = clock_.Elapsed() + options_.handshake_timeout});
    const Challenge challenge{.nonce = newcomer->nonce,
                              .job = options_.job,
                              .attempt = options_.attempt,
                              .rank = options_.rank,
                              .pid = getpid()};
    newcomer->socket.Queue({.channel = Channel::kLink, .payload = Encode(challenge)});
    if (newcomer->socket.Write().ok()) newcomers_.push_back(std::move(newcomer));
  }
}

void LinkServer::ServeNewcomers() {
  for (auto& newcomer : std::exchange(newcomers_, {})) {
    const StatusOr<bool> proved = ServeNewcomer(*newcomer);
    if (!proved.ok()) {
      spdlog::warn("link: closing a connection: {}", MessageOf(proved.status()));
    } else if (*proved) {
      agent_connection_ = std::move(newcomer);  // closes the one before
    } else {
      newcomers_.push_back(std::move(newcomer));
    }
  }
}

StatusOr<bool> LinkServer::ServeNewcomer(Connection& connection) {
  RETURN_IF_ERROR(connection.socket.Read());
  ASSIGN_OR_RETURN(const std::optional<Frame> frame, connection.socket.Next());
  if (frame.has_value()) {
    RETURN_IF_ERROR(Prove(connection, *frame));
    return true;
  }
  if (clock_.Elapsed() >= connection.handshake_deadline) {
    return DeadlineExceeded("it has not proved itself within {}",
                            absl::FormatDuration(options_.handshake_timeout));
  }
  return false;
}

Status LinkServer::Prove(Connection& connection, const Frame& frame) {
  if (frame.channel != Channel::kLink) return Unauthenticated("a message before the proof");
  ASSIGN_OR_RETURN(const Hello hello, Decode<Hello>(frame.payload));
  if (!ConstantTimeEquals(hello.proof, HmacSha256(options_.secret, connection.nonce))) {
    return Unauthenticated("the proof is wrong: not an agent of this trainer");
  }
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(endpoint_.Reconnected(hello.received));
  if (agent_ != hello.agent) {
    endpoint_.ForgetPeer();
    if (!said_.empty()) RETURN_IF_ERROR(endpoint_.Push(Channel::kControl, said_));
  }
  agent_ = hello.agent;
  agent_connected_ = true;
  connection.socket.set_max_payload_bytes(kMaxPayloadBytes);
  connection.socket.Queue(
      {.channel = Channel::kLink, .payload = Encode(Welcome{.received = endpoint_.received()})});
  return OkStatus();
}

Status LinkServer::ServeAgent() {
  FrameSocket& socket = agent_connection_->socket;
  const Status read = socket.Read();
  // What arrived before the other side closed is still heard.
  while (true) {
    ASSIGN_OR_RETURN(std::optional<Frame> frame, socket.Next());
    if (!frame.has_value()) break;
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(const auto delivery, endpoint_.Receive(*std::move(frame)));
    if (delivery.has_value()) RETURN_IF_ERROR(Deliver(*delivery));
    changed_.SignalAll();
  }
  RETURN_IF_ERROR(read);
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      while (socket.HasRoom()) {
        const std::optional<Frame> frame = endpoint_.NextFrame();
        if (!frame.has_value()) break;
        socket.Queue(*frame);
      }
    }
    if (!socket.WantsWrite()) return OkStatus();
    RETURN_IF_ERROR(socket.Write());
    if (socket.WantsWrite()) return OkStatus();  // the socket is full: the poll waits for it
  }
}

Status LinkServer::Deliver(const Endpoint::Delivery& delivery) {
  if (delivery.channel != Channel::kControl) {
    return Unimplemented("an agent sends nothing on channel {} yet",
                         static_cast<int>(delivery.channel));
  }
  endpoint_.Acknowledge(delivery.channel, delivery.sequence);
  ASSIGN_OR_RETURN(Directive directive, Decode<Directive>(delivery.payload));
  if (directive.job != options_.job || directive.attempt != options_.attempt) {
    spdlog::warn("link: ignoring a directive for {} attempt {}", directive.job.value,
                 directive.attempt);
    return OkStatus();
  }
  directive_ = std::move(directive);
  return OkStatus();
}

void LinkServer::SayAgentLeft() {
  absl::MutexLock lock(&mu_);
  if (!agent_connected_) return;
  agent_connected_ = false;
  agent_left_ = clock_.Elapsed();
}

}  // namespace trainyard::link

#include "common/link/link_client.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace trainyard::link {

StatusOr<std::unique_ptr<LinkClient>> LinkClient::Start(LinkClientOptions options,
                                                        LinkClientCallbacks callbacks,
                                                        const Clock& clock) {
  ASSIGN_OR_RETURN(WakeFd wake, WakeFd::Create());
  std::unique_ptr<LinkClient> client(
      new LinkClient(std::move(options), std::move(callbacks), clock, std::move(wake)));
  client->thread_ = Thread("link-client", [raw = client.get()] { raw->Run(); });
  return client;
}

LinkClient::LinkClient(LinkClientOptions options, LinkClientCallbacks callbacks, const Clock& clock,
                       WakeFd wake)
    : options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      clock_(clock),
      wake_(std::move(wake)) {}

LinkClient::~LinkClient() {
  stop_.Stop();
  wake_.Wake();
  thread_.Join();
}

void LinkClient::SetDirective(Directive directive) {
  directive.job = options_.job;
  directive.attempt = options_.attempt;
  {
    absl::MutexLock lock(&mu_);
    if (directive_ == directive) return;
    const Status pushed = endpoint_.Push(Channel::kControl, Encode(directive));
    if (!pushed.ok()) {  // larger than a frame
      spdlog::error("link: a directive cannot be sent: {}", MessageOf(pushed));
      return;
    }
    directive_ = std::move(directive);
  }
  wake_.Wake();
}

void LinkClient::AcknowledgeTelemetry(uint64_t sequence) {
  {
    absl::MutexLock lock(&mu_);
    endpoint_.Acknowledge(Channel::kTelemetry, sequence);
  }
  wake_.Wake();
}

bool LinkClient::connected() const {
  absl::MutexLock lock(&mu_);
  return connected_;
}

Status LinkClient::last_error() const {
  absl::MutexLock lock(&mu_);
  return last_error_;
}

void LinkClient::Run() {
  constexpr absl::Duration kFirstPause = absl::Milliseconds(20), kLongestPause = absl::Seconds(1);
  absl::Duration pause = kFirstPause;
  while (!stop_.stopped()) {
    bool welcomed = false;
    StatusOr<UniqueFd> fd = Dial(options_.socket_path);
    const Status ended = fd.ok() ? Connect(*std::move(fd), &welcomed) : fd.status();
    {
      absl::MutexLock lock(&mu_);
      connected_ = false;
      last_error_ = ended;
    }
    if (fd.ok() && callbacks_.on_disconnected) callbacks_.on_disconnected(ended);
    pause = welcomed ? kFirstPause : std::min(2 * pause, kLongestPause);
    if (stop_.WaitFor(pause)) return;
  }
}

Status LinkClient::Connect(UniqueFd fd, bool* welcomed) {
  RETURN_IF_ERROR(CheckPeerUser(fd.get()));
  FrameSocket socket(std::move(fd), kMaxPayloadBytes);
  Challenge trainer;
  RETURN_IF_ERROR(Handshake(&socket, &trainer));
  *welcomed = true;
  if (callbacks_.on_connected) callbacks_.on_connected(trainer);
  return Converse(&socket);
}

Status LinkClient::Handshake(FrameSocket* socket, Challenge* trainer) {
  const absl::Duration deadline = clock_.Elapsed() + options_.handshake_timeout;
  ASSIGN_OR_RETURN(const Frame first, AwaitFrame(socket, deadline));
  ASSIGN_OR_RETURN(*trainer, Decode<Challenge>(first.payload));
  if (trainer->job != options_.job || trainer->attempt != options_.attempt ||
      trainer->rank != options_.rank) {
    return FailedPrecondition(
        "{}: rank {} of {} attempt {} listens here, wanted rank {} of {} "
        "attempt {}",
        options_.socket_path.string(), trainer->rank, trainer->job.value, trainer->attempt,
        options_.rank, options_.job.value, options_.attempt);
  }
  Hello hello{.proof = HmacSha256(options_.secret, trainer->nonce), .agent = options_.agent};
  {
    absl::MutexLock lock(&mu_);
    hello.received = endpoint_.received();
  }
  socket->Queue({.channel = Channel::kLink, .payload = Encode(hello)});
  RETURN_IF_ERROR(socket->Write());
  const StatusOr<Frame> answer = AwaitFrame(socket, deadline);
  if (!answer.ok()) return Annotate(answer.status(), "the trainer has not welcomed this agent");
  ASSIGN_OR_RETURN(const Welcome welcome, Decode<Welcome>(answer->payload));
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(endpoint_.Reconnected(welcome.received));
  connected_ = true;
  last_error_ = OkStatus();
  return OkStatus();
}

StatusOr<Frame> LinkClient::AwaitFrame(FrameSocket* socket, absl::Duration deadline) {
  while (!stop_.stopped()) {
    ASSIGN_OR_RETURN(std::optional<Frame> frame, socket->Next());
    if (frame.has_value()) return *std::move(frame);
    const absl::Duration left = deadline - clock_.Elapsed();
    if (left <= absl::ZeroDuration()) return DeadlineExceeded("the trainer does not answer");
    Poll(*socket, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    RETURN_IF_ERROR(socket->Read());
  }
  return Aborted("told to stop");
}

Status LinkClient::Converse(FrameSocket* socket) {
  Status read;
  while (!stop_.stopped()) {
    // First what came together with the welcome. What arrived before the other side closed is still
    // heard.
    while (!stop_.stopped()) {
      ASSIGN_OR_RETURN(std::optional<Frame> frame, socket->Next());
      if (!frame.has_value()) break;
      std::optional<Endpoint::Delivery> delivery;
      {
        absl::MutexLock lock(&mu_);
        ASSIGN_OR_RETURN(delivery, endpoint_.Receive(*std::move(frame)));
        if (delivery.has_value() && delivery->channel == Channel::kControl) {
          endpoint_.Acknowledge(delivery->channel, delivery->sequence);
        }
      }
      if (delivery.has_value()) RETURN_IF_ERROR(Deliver(*delivery));
    }
    RETURN_IF_ERROR(read);
    RETURN_IF_ERROR(FillAndWrite(socket));
    Poll(*socket, -1);
    read = socket->Read();
  }
  return Aborted("told to stop");
}

Status LinkClient::Deliver(const Endpoint::Delivery& delivery) {
  if (delivery.channel == Channel::kControl) {
    ASSIGN_OR_RETURN(const RankStatus status, Decode<RankStatus>(delivery.payload));
    const bool ours = status.job == options_.job && status.attempt == options_.attempt;
    if (ours && callbacks_.on_status) callbacks_.on_status(status);
  } else if (delivery.channel == Channel::kTelemetry) {
    ASSIGN_OR_RETURN(const Telemetry message, DecodeTelemetry(delivery.payload));
    if (callbacks_.on_telemetry) callbacks_.on_telemetry(delivery.sequence, message);
  } else {
    return Unimplemented("rollouts from a trainer are not built yet");
  }
  return OkStatus();
}

Status LinkClient::FillAndWrite(FrameSocket* socket) {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      while (socket->HasRoom()) {
        const std::optional<Frame> frame = endpoint_.NextFrame();
        if (!frame.has_value()) break;
        socket->Queue(*frame);
      }
    }
    if (!socket->WantsWrite()) return OkStatus();
    RETURN_IF_ERROR(socket->Write());
    if (socket->WantsWrite()) return OkStatus();  // the socket is full: the poll waits for it
  }
}

void LinkClient::Poll(const FrameSocket& socket, int timeout_ms) {
  const short events = static_cast<short>(POLLIN | (socket.WantsWrite() ? POLLOUT : 0));
  pollfd fds[2] = {{wake_.fd(), POLLIN, 0}, {socket.fd(), events, 0}};
  poll(fds, 2, timeout_ms);  // an error is a turn without news
  wake_.Clear();
}

}  // namespace trainyard::link
